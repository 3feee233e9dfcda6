//! Limits on the size of workloads.

use super::{Value, VariableName, Workload};
/// The longest text that Linux passes to a program, in bytes: an argument, or a variable as
/// `NAME=value`. The kernel reserves 32 pages of 4 KiB, including a zero byte at the end
/// (`MAX_ARG_STRLEN`, <https://man7.org/linux/man-pages/man2/execve.2.html>).
pub const LONGEST_TEXT: usize = 131_071;

/// The largest workload with its settings, in bytes of JSON: 1 MiB. Kubernetes stores objects of
/// about 1.5 MiB (<https://etcd.io/docs/v3.6/dev-guide/limit/>), including the fields that the
/// cluster adds.
pub const LARGEST: usize = 1 << 20;

const ELSEWHERE: &str = "put the data into a file or into the image";

/// Returns why a workload, with its settings applied, is too large, in a sentence.
///
/// ```
/// use choreo_deploy::Workload;
/// use choreo_deploy::workload::{ManualTask, Value, too_large};
///
/// let mut task = ManualTask::new();
/// let value = Value::Literal("x".repeat(200_000));
/// task.container.variables.insert("DATA".parse()?, value);
/// assert_eq!(
///     too_large(&Workload::from(task)).unwrap(),
///     "variable DATA has 200005 bytes with its name and a program takes 131071: \
///      put the data into a file or into the image"
/// );
/// # Ok::<(), choreo_deploy::workload::ParseContainerError>(())
/// ```
#[must_use]
pub fn too_large(workload: &Workload) -> Option<String> {
    let container = workload.container();
    let words = container.command.iter().chain(&container.args);
    let variables = container.variables.iter().map(of_literal);
    too_long(words, variables).or_else(|| {
        let size = serde_json::to_vec(workload).ok()?.len();
        (size > LARGEST)
            .then(|| format!("the workload has {size} bytes and may have {LARGEST}: {ELSEWHERE}"))
    })
}

/// Returns why a program cannot be started with these arguments and variables.
pub(crate) fn too_long<'a>(
    words: impl IntoIterator<Item = &'a String>,
    variables: impl IntoIterator<Item = (&'a VariableName, usize)>,
) -> Option<String> {
    let word = words.into_iter().map(String::len).max().unwrap_or_default();
    if word > LONGEST_TEXT {
        return Some(format!(
            "an argument has {word} bytes and a program takes {LONGEST_TEXT}: {ELSEWHERE}"
        ));
    }
    let with_name =
        |(name, value): (&'a VariableName, usize)| (name, name.as_str().len() + 1 + value);
    let long = variables
        .into_iter()
        .map(with_name)
        .find(|(_, size)| *size > LONGEST_TEXT);
    let (name, size) = long?;
    let name: String = name.as_str().chars().take(64).collect();
    Some(format!(
        "variable {name} has {size} bytes with its name and a program takes {LONGEST_TEXT}: {ELSEWHERE}"
    ))
}

/// Returns a variable and the length of its literal value; the length of a reference is not known.
pub(crate) fn of_literal<'a>(
    (name, value): (&'a VariableName, &'a Value),
) -> (&'a VariableName, usize) {
    match value {
        Value::Literal(text) => (name, text.len()),
        Value::From(_) => (name, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunOverrides;
    use crate::settings::Settings;
    use crate::workload::ManualTask;

    fn task(change: impl FnOnce(&mut ManualTask)) -> Workload {
        let mut task = ManualTask::new();
        change(&mut task);
        task.into()
    }

    fn variable(bytes: usize) -> Workload {
        let value = Value::Literal("x".repeat(bytes));
        task(|task| _ = task.container.variables.insert("A".parse().unwrap(), value))
    }

    #[test]
    fn what_a_program_takes_is_bounded() {
        assert_eq!(too_large(&variable(LONGEST_TEXT - 2)), None);
        assert!(too_large(&variable(LONGEST_TEXT - 1)).is_some());
        let argument = |bytes| task(|task| task.container.args.push("x".repeat(bytes)));
        assert_eq!(too_large(&argument(LONGEST_TEXT)), None);
        assert_eq!(
            too_large(&argument(LONGEST_TEXT + 1)).unwrap(),
            "an argument has 131072 bytes and a program takes 131071: put the data into a file or into the image"
        );
    }

    #[test]
    fn a_workload_is_bounded_as_a_whole() {
        let arguments = |count| {
            task(|task| {
                task.container
                    .args
                    .extend(std::iter::repeat_n("x".repeat(100_000), count))
            })
        };
        assert_eq!(too_large(&arguments(10)), None);
        let said = too_large(&arguments(11)).unwrap();
        assert!(said.starts_with("the workload has 11002"), "{said}");
    }

    #[test]
    fn documents_say_it_at_its_place_and_stored_ones_stay_readable() {
        let long = "x".repeat(LONGEST_TEXT);
        let workload = format!(
            r#"{{"type": "manual-task", "container": {{"variables": {{"A": {{"literal": "{long}"}}}}}}}}"#
        );
        let problems = Workload::from_json(&workload).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].path, "container");
        assert!(
            problems[0]
                .message
                .starts_with("variable A has 131073 bytes")
        );
        assert!(serde_json::from_str::<crate::document::Stored<Workload>>(&workload).is_ok());
        let settings = format!(r#"{{"variables": {{"A": {{"literal": "{long}"}}}}}}"#);
        assert!(Settings::from_json(&settings).is_err());
        let run = format!(r#"{{"args": ["{long}x"]}}"#);
        assert!(RunOverrides::from_json(&run).is_err());
    }
}
