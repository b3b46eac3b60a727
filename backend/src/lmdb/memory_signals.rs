//! A last word when the process dies inside LMDB.
//!
//! LMDB reads its file through a map and believes what it finds. A page that cannot be read (a disk
//! that fails, a file cut short) or that is damaged ends the process by SIGBUS or SIGSEGV, without a
//! word. No program can go on after that, but it can say where to look.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

/// The signals, and their names.
const SIGNALS: [(libc::c_int, &str); 2] = [(libc::SIGBUS, "SIGBUS"), (libc::SIGSEGV, "SIGSEGV")];

/// What is said and done at a signal.
struct Last {
    signal: libc::c_int,
    words: String,
    /// What was done before: it is asked next, and ends the process.
    before: libc::sigaction,
}

static LAST: [OnceLock<Last>; 2] = [OnceLock::new(), OnceLock::new()];

/// Lets the process say, on its error output, that the database at `path` may be damaged when it dies
/// of a memory signal. It dies all the same, as it would have. The first call counts.
///
/// # Errors
///
/// The system's.
pub fn tell_memory_signals(path: &Path) -> io::Result<()> {
    for ((signal, name), last) in SIGNALS.into_iter().zip(&LAST) {
        if last.get().is_some() {
            continue;
        }
        let before = current_action(signal)?;
        let words = format!(
            "cairn: {name} while memory was read. Unless something else is said below, the database \
             {} is damaged, or its disk cannot be read: check it, restore it from before the \
             damage, or remove this member from its cluster and add it again with an empty data \
             directory\n",
            path.display()
        );
        let is_first = last
            .set(Last {
                signal,
                words,
                before,
            })
            .is_ok();
        if is_first {
            set_action(signal)?;
        }
    }
    Ok(())
}

fn current_action(signal: libc::c_int) -> io::Result<libc::sigaction> {
    let mut before = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    #[expect(unsafe_code, reason = "a call of the system")]
    // SAFETY: no new action is given, and there is room for the one that is read; all zeros is a
    // value of it, if the call were to write nothing.
    let (result, before) = unsafe {
        let result = libc::sigaction(signal, std::ptr::null(), before.as_mut_ptr());
        (result, before.assume_init())
    };
    if result == 0 {
        Ok(before)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn set_action(signal: libc::c_int) -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int) = tell;
    #[expect(unsafe_code, reason = "a call of the system")]
    // SAFETY: all zeros is an action; the handler has the type that the flags promise, and does
    // only what is safe at a signal. It runs on the stack for signals, which the standard library
    // gives to every thread of its own.
    let result = unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Says the last words and puts back what was done before: the memory is then read again, and the
/// process dies as it would have.
extern "C" fn tell(signal: libc::c_int) {
    let last = LAST.iter().filter_map(OnceLock::get);
    for last in last.filter(|last| last.signal == signal) {
        #[expect(unsafe_code, reason = "calls of the system")]
        // SAFETY: both calls are safe at a signal and get memory that lives for ever.
        unsafe {
            libc::write(
                libc::STDERR_FILENO,
                last.words.as_ptr().cast(),
                last.words.len(),
            );
            libc::sigaction(signal, &raw const last.before, std::ptr::null_mut());
        }
    }
}
