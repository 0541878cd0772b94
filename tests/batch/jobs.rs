//! Jobs of a batch: started as it goes, awaited at its end.

use crate::kit::shell::Home;
use crate::kit::talking::Talking;

#[test]
fn the_end_of_the_input_waits_for_every_job_and_shows_them_in_order() {
    let home = Home::new();
    let work = home.work();
    for name in ["a", "b"] {
        std::fs::write(work.join(name), format!("content of {name}\n")).unwrap();
    }
    let (a, b) = (work.join("a"), work.join("b"));
    let script = format!("cat {} &\ncat {}&\ndevices -output jsonl\n", a.display(), b.display());
    let ran = home.batch(&script).run().code(0);
    let out = ran.out();
    let places: Vec<usize> = ["linux", "content of a", "content of b"].iter().map(|text| out.find(text).unwrap()).collect();
    assert!(places.is_sorted(), "{out}");
    assert_eq!(out.matches("content").count(), 2, "{out}");
    for started in
        [format!("[2]   (Just created)   cat {} &", a.display()), format!("[3]   (Just created)   cat {}&", b.display())]
    {
        assert!(ran.err().contains(&started), "{}", ran.err());
    }
}

#[test]
fn the_first_failure_of_a_job_is_the_code_of_the_batch() {
    let home = Home::new();
    let ran = home.batch("cat /nonexistent/one &\ndir /etc -first 1 &\ncat /nonexistent/two &\n").run().code(1);
    let err = ran.err();
    assert_eq!(err.matches("error:").count(), 2, "{err}");
    // Each is told under its own number and line.
    let told: Vec<&str> = err.split("[2]   (").nth(2).unwrap().split("error:").collect();
    assert!(told[0].contains("cat /nonexistent/one &") && told[1].contains("/nonexistent/one: "), "{err}");
    assert!(told[1].contains("[4]   (") && told[2].contains("/nonexistent/two: "), "{err}");
    // A line that fails stops the batch, but not what was started.
    let ran = home.batch("dir /etc -output jsonl -first 1 &\ncat /nonexistent\ndevices\n").run().code(1);
    assert_eq!(ran.jsonl().len(), 1);
}

#[test]
fn a_job_is_fetched_by_its_number() {
    let home = Home::new();
    std::fs::write(home.work().join("a"), "content\n").unwrap();
    let line = format!("cat {}", home.work().join("a").display());
    let ran = home.batch(&format!("{line} &\nfg\n")).run().code(0);
    assert_eq!(ran.out(), "content\n", "shown once: {}", ran.err());
    let ran = home.batch(&format!("{line} &\nfg 2\nstatus 2 -output json\n")).run().code(0);
    assert!(ran.out().starts_with("content\n{"), "{}", ran.out());
    // `fg` ends with the job's code, `status` does not.
    home.batch("cat /nonexistent &\nfg 2\n").run().code(1);
}

#[test]
fn a_job_is_fetched_into_a_file() {
    let home = Home::new();
    let ran = home.batch("dir / -output jsonl &\nfg 2 > rows\nfg 2 >> rows\nfg 2 > /nonexistent/x\n").run().code(1);
    assert!(ran.out().is_empty() && ran.err().contains("/nonexistent/x"), "{}{}", ran.out(), ran.err());
    let rows = std::fs::read_to_string(home.work().join("rows")).unwrap();
    let (first, second) = rows.split_at(rows.len() / 2);
    assert!(first.contains("\"etc\"") && first == second, "{rows}");
}

#[test]
fn each_error_is_told_once_and_the_end_counts() {
    let home = Home::new();
    std::fs::write(home.work().join("a"), "content\n").unwrap();
    // The second file cannot be written: the job is lost here, not on the device.
    let good = format!("cat {}", home.work().join("a").display());
    let script = format!("# a triage\ncat /nonexistent/one\n{good}\n{good} > /dev/full &\n{good}\n");
    for (args, place) in [(&["--keep-going"][..], "-:2"), (&["--keep-going", "--stream"], "")] {
        let ran = home.batch(&script).args(args).run().code(1);
        let err = ran.err();
        for once in ["/nonexistent/one: ", "the answer cannot be written", "2 of 4 lines failed"] {
            assert_eq!(err.matches(once).count(), 1, "{once}: {err}");
        }
        assert!(err.contains(place) && err.trim_end().ends_with("2 of 4 lines failed"), "{err}");
    }
    // Where the first failure is the end, it is said where, and nothing is counted.
    let ran = home.batch(&script).run().code(1);
    assert!(!ran.err().contains("lines failed"), "{}", ran.err());
}

#[test]
fn an_end_that_nobody_was_told_of_is_listed_once() {
    let home = Home::new();
    std::fs::write(home.work().join("a"), "content\n").unwrap();
    let mut first = Talking::start({
        let mut command = home.command();
        command.arg("--stream");
        command
    });
    let mark = |shell: &mut Talking| {
        shell.say("devices -output jsonl");
        shell.hear()
    };
    first.say(&format!("cat {} &", home.work().join("a").display()));
    // Its session is there, and stays.
    mark(&mut first);
    let listed = |ran: crate::kit::shell::Ran| ran.code(0).jsonl();
    loop {
        let jobs = listed(home.line("jobs -output jsonl"));
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        if jobs[0]["status"] == "completed" {
            break;
        }
    }
    first.say("jobs -output jsonl");
    assert_eq!(first.hear()["status"], "completed");
    first.say("jobs -output jsonl");
    assert!(mark(&mut first).get("platform").is_some());
    // Its output is shown at the end all the same.
    assert_eq!(first.rest(), "content\n");
}
