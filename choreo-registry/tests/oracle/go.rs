//! Builds a Go program from its folder and sends it questions, one per line.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// A Go program that answers each line of its standard input with one line on its standard output.
pub(crate) struct Oracle {
    program: PathBuf,
}

impl Oracle {
    /// Builds the program in the folder `name` next to this file. Returns `None` and reports it if
    /// Go is not installed.
    ///
    /// # Panics
    ///
    /// Panics if Go is installed and the program does not build.
    pub(crate) fn or_skip(name: &str) -> Option<Self> {
        let has_go = Command::new("go")
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !has_go {
            // Not `eprintln!`, because the test harness captures its output.
            let said = format!("SKIPPED: the oracle \"{name}\", because Go is not installed\n");
            io::stderr().write_all(said.as_bytes()).unwrap();
            return None;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/oracle")
            .join(name);
        let program = format!("oracle-{}", name.replace('/', "-"));
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(program);
        let built = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(&folder)
            .env("GOFLAGS", "-mod=readonly")
            .env("GOWORK", "off")
            .output()
            .unwrap();
        assert!(
            built.status.success(),
            "the oracle \"{name}\" does not build: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        Some(Self { program })
    }

    /// Returns the answers of the program, one for each question, in the same order.
    ///
    /// # Panics
    ///
    /// Panics if the program fails or the number of answers differs.
    pub(crate) fn ask(&self, questions: Vec<String>) -> Vec<String> {
        let asked = questions.len();
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Another thread writes, because both pipes have limited buffers and the program would
        // block.
        let writer = thread::spawn(move || {
            for question in questions {
                assert!(!question.contains('\n'), "a question of several lines");
                stdin.write_all(question.as_bytes()).unwrap();
                stdin.write_all(b"\n").unwrap();
            }
        });
        let answers: Vec<String> = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(|line| line.unwrap())
            .collect();
        writer.join().unwrap();
        assert!(child.wait().unwrap().success(), "the oracle failed");
        assert_eq!(answers.len(), asked, "each question has one answer");
        answers
    }
}

/// Returns the number of generated cases: `CHOREO_TEST_CASES`, or 20,000.
pub(crate) fn cases() -> usize {
    std::env::var("CHOREO_TEST_CASES").map_or(20_000, |cases| {
        cases.parse().expect("CHOREO_TEST_CASES is a number")
    })
}
