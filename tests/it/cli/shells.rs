//! Completions and manual pages.

use std::process::Command;

use super::Bench;

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = bench.run(&["completions", shell]).ended_with(0).stdout;
        for word in ["datasets", "checkpoints", "api-key"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(!script.contains("MATRYO_API_KEY="), "{shell}");
        bench.write(shell, &script);
    }
    // Those that this machine can read.
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        match Command::new(shell).arg(check).arg(bench.path(shell)).output() {
            Ok(checked) => assert!(checked.status.success(), "{shell}: {checked:?}"),
            Err(error) => assert!(shell != "bash", "{error}"),
        }
    }
    bench.run(&["completions", "csh"]).ended_with(2).saying("bash");
}

#[cfg(unix)]
#[test]
fn bash_completes_what_was_begun() {
    let bench = Bench::new();
    bench.write("matryo.bash", &bench.run(&["completions", "bash"]).ended_with(0).stdout);
    let complete = |words: &str| {
        let count = words.split(' ').count() - 1;
        let script = format!(
            "source matryo.bash; COMP_WORDS=({words}); [[ '{words}' == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD={count}; \
             _matryo matryo \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &script]).current_dir(bench.path("")).output().expect("bash");
        String::from_utf8(output.stdout).expect("it is text").trim().to_owned()
    };
    assert_eq!(complete("matryo dat"), "datasets");
    assert_eq!(complete("matryo jobs chec"), "checkpoints");
    assert_eq!(complete("matryo jobs create --eval-d"), "--eval-dataset");
}

#[test]
fn every_command_has_a_manual_page_and_stands_in_the_docs() {
    let bench = Bench::new();
    let page = bench.run(&["man"]).ended_with(0).stdout;
    assert!(page.contains(".TH matryo 1") && page.contains("Exit codes"), "{page}");
    bench.run(&["man", "--out", "man/man1"]).ended_with(0);
    let mut names: Vec<String> = std::fs::read_dir(bench.path("man/man1"))
        .expect("it was made")
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("it is UTF-8"))
        .collect();
    names.sort();
    let has = |name: &str| names.iter().any(|known| known == name);
    assert!(has("matryo.1") && has("matryo-serve.1") && has("matryo-jobs-download.1"), "{names:?}");
    assert!(names.len() > 40, "{names:?}");

    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).expect("it can be read");
    for name in names.iter().filter(|name| name.matches('-').count() == 2 && !name.contains("-help")) {
        let page = std::fs::read_to_string(bench.path("man/man1").join(name)).expect("it can be read");
        assert!(page.contains("xample"), "{name} has no example");
        // A command of two words, or a command and one of its own.
        let command = name.trim_end_matches(".1").replacen('-', " ", 1);
        let is_there = docs.contains(&command) || docs.contains(&command.replace('-', " "));
        assert!(is_there, "`{command}` is missing from docs/cli.md");
    }
}
