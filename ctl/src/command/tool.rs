//! Commands about this program itself.

use std::path::PathBuf;

use clap::{Arg, Command};
use clap_complete::env::{Bash, EnvCompleter, Fish, Powershell, Zsh};

use crate::cli::{arguments, leaf, tree};
use crate::failure::Failure;
use crate::golang::quote;
use crate::session::{Context, put_out};

/// The release of etcdctl whose commands and output these are.
const ETCDCTL: &str = "3.7.1";
const API: &str = "3.7";

/// The variable by which a shell asks what could stand next.
pub(crate) const COMPLETION_VARIABLE: &str = "CAIRNCTL_COMPLETE";

pub(crate) fn version() -> Command {
    arguments(
        leaf("version", "The etcdctl whose output this is, and its API"),
        "",
    )
}

pub(crate) fn options() -> Command {
    arguments(leaf("options", "Lists the options of all commands"), "")
}

pub(crate) fn completion() -> Command {
    let about = "A script that has a shell complete commands, flags and keys";
    arguments(leaf("completion", about), "<bash|zsh|fish|powershell>").after_help(
        "Keys are asked of the endpoints on the line, or of ETCDCTL_ENDPOINTS.\n\n\
         Examples:\n  source <(cairnctl completion bash)\n  cairnctl completion fish > ~/.config/fish/completions/cairnctl.fish",
    )
}

pub(crate) fn man() -> Command {
    arguments(leaf("man", "Writes manual pages into a folder"), "<folder>")
        .after_help("Example:\n  cairnctl man ~/.local/share/man/man1")
}

pub(crate) fn print_version() -> Result<(), Failure> {
    put_out(format!("etcdctl version: {ETCDCTL}\nAPI version: {API}\n").as_bytes())
}

pub(crate) fn print_options(context: &Context) -> Result<(), Failure> {
    let options = Command::new("options")
        .disable_help_flag(true)
        .help_template("{options}")
        .args(global_options(context))
        .render_help();
    let text = format!("The following options can be passed to any command:\n\n{options}\n");
    put_out(text.as_bytes())
}

/// The options of all commands, not hidden.
fn global_options(context: &Context) -> impl Iterator<Item = Arg> {
    let arguments = context.tree.get_arguments();
    arguments
        .filter(|it| it.is_global_set())
        .cloned()
        .map(|it| it.hide(false))
}

pub(crate) fn print_completion(context: &Context) -> Result<(), Failure> {
    let words = context.flags.words();
    let [shell] = words.as_slice() else {
        let count = words.len();
        return Err(Failure::error(format!(
            "accepts 1 arg(s), received {count}"
        )));
    };
    let shell: &dyn EnvCompleter = match shell.as_str() {
        "bash" => &Bash,
        "zsh" => &Zsh,
        "fish" => &Fish,
        "powershell" => &Powershell,
        other => {
            let (other, program) = (quote(other.as_bytes()), &context.program);
            let message = format!("invalid argument {other} for \"{program} completion\"");
            return Err(Failure::error(message));
        }
    };
    let program = &context.program;
    let mut script = Vec::new();
    shell.write_registration(COMPLETION_VARIABLE, program, program, program, &mut script)?;
    put_out(&script)
}

pub(crate) fn write_man(context: &Context) -> Result<(), Failure> {
    let arguments = context.flags.arguments();
    let [folder] = arguments.as_slice() else {
        return Err(Failure::arguments("man needs a folder to write into"));
    };
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder)?;
    let visible = global_options(context).fold(tree(&context.program), |tree, option| {
        tree.mut_arg(option.get_id().clone(), |it| it.hide(false))
    });
    clap_mangen::generate_to(visible, &folder)?;
    put_out(format!("Manual pages are in {}\n", folder.display()).as_bytes())
}
