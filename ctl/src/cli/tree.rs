//! All commands in their groups, and the help that lists them.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::flags::arguments_text;
use crate::command;
use crate::data_at_rest::COMMANDS;

/// Commands that have something in common, for help.
struct Group {
    title: &'static str,
    commands: Vec<Command>,
}

/// A command that only has others below.
pub(crate) fn group(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .disable_help_subcommand(true)
        .args_override_self(true)
}

/// The whole tree; the name is that of the program as it was called.
pub(crate) fn tree(program: &str) -> Command {
    let groups = groups();
    let help = help_template(&groups);
    let tree = Command::new(program.to_owned())
        .bin_name(program.to_owned())
        .version(env!("CARGO_PKG_VERSION"))
        .about("The command line of Cairn and of any etcd: all of etcdctl, and more")
        .help_template(help)
        .infer_subcommands(true)
        .args_override_self(true)
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::Version)
                .help("The version of this program"),
        )
        .args(super::global::flags())
        .subcommands(groups.into_iter().flat_map(|group| group.commands));
    with_usage(tree, "")
}

/// Says of each command how it is called, arguments by name.
fn with_usage(command: Command, above: &str) -> Command {
    let path = format!("{above}{}", command.get_name());
    let usage = if command.has_subcommands() {
        format!("{path} <command> [options]")
    } else {
        let arguments = arguments_text(&command);
        format!("{path} [options] {arguments}")
            .trim_end()
            .to_owned()
    };
    let below = format!("{path} ");
    command
        .override_usage(usage)
        .mut_subcommands(|command| with_usage(command, &below))
}

fn groups() -> Vec<Group> {
    vec![
        Group {
            title: "Keys and values",
            commands: command::key_commands(),
        },
        Group {
            title: "Members and their data",
            commands: command::cluster_commands(),
        },
        Group {
            title: "Concurrency",
            commands: command::concurrency_commands(),
        },
        Group {
            title: "Users and roles",
            commands: command::auth_commands(),
        },
        Group {
            title: "Looking inside (beyond etcdctl)",
            commands: command::insight_commands(),
        },
        Group {
            title: "Tools",
            commands: command::tool_commands(),
        },
    ]
}

fn help_template(groups: &[Group]) -> String {
    let mut template = "{about}\n\n{usage-heading} {usage}\n".to_owned();
    for group in groups {
        let _ = write!(template, "\n{}:\n", group.title);
        for command in &group.commands {
            let about = command.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            let _ = writeln!(template, "  {:<13} {about}", command.get_name());
        }
    }
    template.push_str("\nData of members that do not run (by the program `cairn`):\n");
    for command in COMMANDS {
        let _ = writeln!(template, "  {:<17} {}", command.name, command.about);
    }
    template.push_str(
        "\nEndpoints, TLS, user and the form of answers (-w json, …) are options of all commands:\n\
         `options` lists them, and each can be set as an environment variable (ETCDCTL_ENDPOINTS, …).\n\
         `COMMAND --help` has the details of a command. A link named etcdctl serves scripts unchanged.\n",
    );
    template
}

/// The help of a command that only has others below, if the path ends at one.
pub(crate) fn help_of_group(tree: &Command, path: &[&str]) -> Option<String> {
    let mut command = tree.clone();
    command.build();
    let mut command = &mut command;
    for name in path {
        command = command.find_subcommand_mut(name)?;
    }
    let is_group = command.has_subcommands();
    is_group.then(|| command.render_help().to_string())
}
