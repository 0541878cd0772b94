//! What cron and systemd read, and when they run it, against their own programs: `crontab -n`, croniter, `systemd-analyze calendar`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use lrsh::agent::platform::tasks::calendar_text;
use lrsh::agent::platform::tasks::cron_time::{Fields, When, when};
use lrsh::agent::platform::tasks::crontab::{Owner, parse};
use serde_json::json;

use crate::kit::need::{need, skip};

const ZONES: [&str; 3] = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];

/// A small generator (xorshift), so that every run has the same lines.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }

    fn field(&mut self, low: u64, high: u64, names: &[&str]) -> String {
        let value = |dice: &mut Self| low + dice.roll(high - low + 1);
        match self.roll(if names.is_empty() { 7 } else { 9 }) {
            0..=2 => "*".to_owned(),
            3 => value(self).to_string(),
            4 => format!("*/{}", 1 + self.roll(high)),
            5 => {
                let (one, two) = (value(self), value(self));
                format!("{}-{}", one.min(two), one.max(two))
            }
            6 => {
                let (one, two, three) = (value(self), value(self), value(self));
                format!("{one},{}-{}/{}", two.min(three), two.max(three), 1 + self.roll(9))
            }
            7 => self.pick(names).to_owned(),
            _ => format!("{},{}", self.pick(names), self.pick(names)),
        }
    }

    fn line(&mut self) -> String {
        let months = ["jan", "Feb", "MAR", "sep", "oct"];
        let days = ["sun", "Mon", "THU", "sat"];
        // The hours and days around which clocks change come up more often than others.
        let hour =
            if self.roll(2) == 0 { self.pick(&["0", "1", "2", "3", "1,2", "2-3"]).to_owned() } else { self.field(0, 23, &[]) };
        let fields =
            [self.field(0, 59, &[]), hour, self.field(1, 31, &[]), self.field(1, 12, &months), self.field(0, 6, &days)];
        fields.join(" ")
    }
}

fn fields(line: &str) -> Fields {
    match when(format!("{line} x").as_bytes()) {
        Ok((When::At(fields), _)) => fields,
        other => panic!("{line}: {other:?}"),
    }
}

fn run_with(program: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// cron's own loop (`main` and `find_jobs` of cron 3.0pl1), a minute at a time: the first run after a moment within some days.
fn as_cron_runs(fields: &Fields, zone: &TimeZone, after: Timestamp, days: i64) -> Option<Timestamp> {
    let clock = |minute: i64| {
        let at = Timestamp::from_second(minute * 60).unwrap();
        minute + i64::from(zone.to_offset(at).seconds()) / 60
    };
    let local = |clock: i64| jiff::tz::Offset::UTC.to_datetime(Timestamp::from_second(clock * 60).unwrap());
    let matches = |clock: i64| fields.matches(local(clock));
    let wild = fields.is_wild();
    let start = after.as_second().div_euclid(60);
    // It has been running for some hours.
    let mut virtual_time = clock(start - 600);
    for minute in start - 599..start + days * 1440 {
        let now = clock(minute);
        let behind = now - virtual_time;
        let mut fires = false;
        match behind {
            1..=5 => {
                while virtual_time < now {
                    virtual_time += 1;
                    fires |= matches(virtual_time);
                }
            }
            6..=180 => {
                fires |= wild && matches(now);
                while virtual_time < now {
                    virtual_time += 1;
                    fires |= !wild && matches(virtual_time);
                }
            }
            -179..=0 => fires |= wild && matches(now),
            _ => {
                virtual_time = now;
                fires |= matches(now);
            }
        }
        if fires && minute > start {
            return Timestamp::from_second(minute * 60).ok();
        }
    }
    None
}

/// croniter on the clock on the wall. (Given a zone it loses an hour between summer and winter: its own defect, not cron's.)
const CRONITER: &str = r"
import json, sys, zoneinfo, datetime
from croniter import croniter
for text in sys.stdin:
    line, zone, second = json.loads(text)
    zone = zoneinfo.ZoneInfo(zone)
    start = datetime.datetime.fromtimestamp(second, zone).replace(tzinfo=None)
    try:
        print(int(croniter(line, start).get_next(datetime.datetime).replace(tzinfo=zone).timestamp()))
    except Exception as error:
        print(-1)
";

#[test]
fn a_thousand_lines_run_when_croniter_and_crons_own_loop_say() {
    let mut dice = Dice(0x005e_ed0f_c207_2026);
    let mut cases = Vec::new();
    for number in 0..1000 {
        let zone = ZONES[number % ZONES.len()];
        // Days on which clocks change, and others.
        let starts = [
            "2026-03-28T12:10",
            "2026-10-24T20:30",
            "2026-03-07T23:59",
            "2026-10-31T22:00",
            "2026-04-04T12:00",
            "2026-10-03T18:00",
            "2026-06-15T08:01",
            "2027-12-31T23:30",
        ];
        let zone_info = TimeZone::get(zone).unwrap();
        let start = zone_info.to_timestamp(dice.pick(&starts).parse::<DateTime>().unwrap()).unwrap();
        cases.push((dice.line(), zone, start));
    }
    for (line, zone, start) in &cases {
        let (fields, zone_info) = (fields(line), TimeZone::get(zone).unwrap());
        let ours = fields.next(*start, &zone_info);
        let days = 4;
        let horizon = *start + jiff::SignedDuration::from_hours(24 * days);
        let looped = as_cron_runs(&fields, &zone_info, *start, days);
        assert_eq!(ours.filter(|at| *at < horizon), looped, "{line} in {zone} after {start}");
    }
    let python = Path::new("/usr/bin/python3");
    let has_croniter =
        || Command::new(python).args(["-c", "import croniter, zoneinfo"]).output().is_ok_and(|out| out.status.success());
    if !python.exists() || !has_croniter() {
        skip("python3-croniter not installed");
        return;
    }
    let mut input = String::new();
    for (line, zone, start) in &cases {
        writeln!(input, "{}", json!([line, zone, start.as_second()])).unwrap();
    }
    let told = run_with("/usr/bin/python3", &["-c", CRONITER], &input);
    assert_eq!(told.lines().count(), cases.len());
    let mut differences: BTreeMap<&str, u32> = BTreeMap::new();
    let mut unexplained = Vec::new();
    for ((line, zone, start), told) in cases.iter().zip(told.lines()) {
        let (fields, zone_info) = (fields(line), TimeZone::get(zone).unwrap());
        let ours = fields.next(*start, &zone_info).map_or(-1, Timestamp::as_second);
        let theirs: i64 = told.parse().unwrap();
        if ours == theirs {
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let stepped = |field: &str| field.starts_with("*/");
        let restricted = |field: &str| !field.starts_with('*');
        // Whether the clock changes within a day of the earlier of both.
        let first = [ours, theirs].into_iter().filter(|&at| at > 0).min().unwrap();
        let day_before = Timestamp::from_second(first - 86_400).unwrap();
        let changes =
            zone_info.following(day_before).next().is_some_and(|change| change.timestamp().as_second() < first + 86_400);
        let whole = |field: &str| matches!(field, "1-31" | "0-6");
        let reason = if whole(words[2]) || whole(words[4]) {
            "a range of all days: for cron it restricts, so that either day is enough, for croniter it is *"
        } else if stepped(words[2]) || stepped(words[4]) {
            "a day with * and a step: cron asks for both days, croniter for one of them"
        } else if changes {
            "a run that a change of the clock moves: cron makes up for it or does not repeat it"
        } else if restricted(words[2]) && restricted(words[4]) && theirs == -1 {
            "croniter gives up"
        } else {
            unexplained.push(format!("{line} in {zone} after {start}: {ours}, croniter says {theirs}"));
            continue;
        };
        *differences.entry(reason).or_default() += 1;
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    let all: u32 = differences.values().sum();
    eprintln!("{} of {} as croniter says; {differences:#?}", cases.len() - all as usize, cases.len());
    assert!(all < 200, "{differences:#?}");
}

#[test]
fn crontab_takes_the_same_files() {
    if !need(&["crontab"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(0x0c20_47ab);
    let words = [
        "*",
        "*/5",
        "5",
        "0-59",
        "5-1",
        "60",
        "24",
        "32",
        "13",
        "8",
        "7",
        "jan",
        "MON",
        "monday",
        "1~5",
        "5/15",
        "*/0",
        "1,,2",
        "1-",
        "-1",
        "x",
        "@daily",
        "@foo",
        "1-10/3",
        "*/100",
        "**",
        "A=b",
        "A",
        "=",
        "\"A\"",
        "'A' = 'b'",
        "# c",
        "",
        "\t",
        "99999999999",
    ];
    for round in 0..300 {
        let lines = 1 + dice.roll(3);
        let mut text = String::new();
        for _ in 0..lines {
            let line: Vec<&str> = match dice.roll(3) {
                0 => (0..dice.roll(7)).map(|_| dice.pick(&words)).collect(),
                1 => {
                    let command = dice.pick(&words);
                    (0..5).map(|_| dice.pick(&["*", "1", "*/2", "1-5"])).chain([command]).collect()
                }
                _ => vec![dice.pick(&words), dice.pick(&["=", " = ", ""]), dice.pick(&words)],
            };
            text.push_str(&line.join(" "));
            text.push('\n');
        }
        let file = folder.path().join(round.to_string());
        std::fs::write(&file, &text).unwrap();
        let out = Command::new("crontab").arg("-n").arg(&file).env("LC_ALL", "C").output().unwrap();
        let ours = parse(text.as_bytes(), Owner::User);
        assert_eq!(
            ours.refused.is_none(),
            out.status.success(),
            "{text}\n{:?}\n{}",
            ours.refused,
            String::from_utf8_lossy(&out.stderr)
        );
        if let Some(why) = ours.refused.as_deref().and_then(|why| why.split(": ").nth(1)) {
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(said.contains(why), "{text}: {why}: {said}");
        }
    }
}

/// What `systemd-analyze calendar` says is next, in UTC seconds; `None` when it refuses the expression.
///
/// The outer `None`: where the months of summer and winter meet, systemd 252 takes some expressions for endless and gives up.
fn analyzed(expression: &str, zone: &str, base: &str, count: u32) -> Option<Option<Vec<i64>>> {
    let out = Command::new("systemd-analyze")
        .args(["calendar", &format!("--iterations={count}"), &format!("--base-time={base}"), expression])
        .envs([("TZ", zone), ("LC_ALL", "C")])
        .output()
        .unwrap();
    if !out.status.success() {
        let gave_up = String::from_utf8_lossy(&out.stderr).contains("Resource deadlock avoided");
        return (!gave_up).then_some(None);
    }
    let text = String::from_utf8(out.stdout).unwrap();
    let utc = zone == "UTC" || expression.to_lowercase().ends_with("utc");
    let lines = text.lines().filter_map(|line| {
        let line = line.trim();
        let found = if utc && !text.contains("(in UTC)") {
            line.strip_prefix("Next elapse: ")
                .or_else(|| line.strip_prefix("Iter. #").and_then(|rest| rest.split_once(": ")).map(|(_, at)| at))
        } else {
            line.strip_prefix("(in UTC): ")
        };
        let at = found?.trim_end_matches(" UTC").split_once(' ')?.1.replace(' ', "T");
        let at: DateTime = at.parse().ok()?;
        Some(TimeZone::UTC.to_timestamp(at).unwrap().as_second())
    });
    Some(Some(lines.collect()))
}

fn ours(expression: &str, zone: &str, base: &str, count: usize) -> Option<Vec<i64>> {
    let calendar = calendar_text::parse(expression, &|zone| TimeZone::get(zone).is_ok())?;
    let local = TimeZone::get(zone).unwrap();
    let zone = calendar.zone().map_or(local.clone(), |zone| TimeZone::get(zone).unwrap());
    let mut at = local.to_timestamp(base.replace(' ', "T").parse::<DateTime>().unwrap()).unwrap();
    let mut found = Vec::new();
    while found.len() < count
        && let Some(next) = calendar.next(at, &zone)
    {
        found.push(next.as_second());
        at = next;
    }
    Some(found)
}

#[test]
fn calendars_agree_with_systemd_analyze() {
    if !need(&["systemd-analyze"]) {
        return;
    }
    let known = [
        "minutely",
        "hourly",
        "daily",
        "DAILY",
        "weekly",
        "monthly",
        "quarterly",
        "semiannually",
        "yearly",
        "anually",
        "daily UTC",
        "daily Asia/Tokyo",
        "Mon",
        "Mon,Tue",
        "Mon..Fri",
        "Fri..Mon",
        "Wed-Sat,Tue 12-10-15 1:2:3",
        "Sat,Sun *-*-* 04:00",
        "Wed, 17:48",
        "Mon,",
        "Mon..",
        "Thursday 12:00",
        "*-*-* *:*:*",
        "*:0/15",
        "*-*-1..7 18:00:00",
        "Mon *-*-1..7 10:00",
        "*-02~03",
        "*-02~01..03",
        "*-*~07/1",
        "Mon *-05~07/1",
        "*-*~*",
        "*-02-29",
        "Mon *-02-29",
        "2003-03-05",
        "2003-03-05 05:40",
        "2035-03-05",
        "05:40:23.42/3.17",
        "*:*:30",
        "*:*:0/20",
        "12,13:05",
        "6..22:00",
        "5..5:00",
        "*-*-01..31/40",
        "00..07/2:45",
        "*-1,4,7-01",
        "99-1-1",
        "70-1-1",
        "@1790000000",
        "@x",
        "",
        " ",
        "x",
        "25:00",
        "1:60",
        "1:2:61",
        "*-13-1",
        "*-0-1",
        "*-*-32",
        "1-2-3-4",
        "*:0/0",
        "*-*-* */2:00",
        "Mon,,Tue",
        "00:05..03",
        "Mon *-*-*T10:00",
        "2:30",
        "2,3:30",
        "*-*-* 01:30,45",
        "UTC",
        "monday tuesday",
        "*-*-* 23:59:59..60",
        "1..5",
        "*-*-1/7",
        "2026..2030/2-03-29 2:00",
        "*-03-29 *:30",
        "*-10-25 *:30",
    ];
    let mut dice = Dice(0xca1e_4da2);
    let mut expressions: Vec<String> = known.iter().map(|&text| text.to_owned()).collect();
    for _ in 0..60 {
        let part = |dice: &mut Dice, low: u64, high: u64| match dice.roll(6) {
            0 | 1 => "*".to_owned(),
            2 => (low + dice.roll(high - low + 1)).to_string(),
            3 => format!("{low}/{}", 1 + dice.roll(high)),
            4 => format!("{}..{}", low + dice.roll(3), low + dice.roll(high - low + 1)),
            _ => format!("{},{}..{}/{}", low + dice.roll(high - low + 1), low + 1, high - dice.roll(3), 1 + dice.roll(5)),
        };
        let day = dice.pick(&["", "", "Mon ", "Sat..Sun ", "Tue,Thu "]);
        let sign = dice.pick(&["-", "-", "~"]);
        let (month, date) = (part(&mut dice, 1, 12), part(&mut dice, 1, 31));
        let (hour, minute) = (part(&mut dice, 0, 23), part(&mut dice, 0, 59));
        expressions.push(format!("{day}*-{month}{sign}{date} {hour}:{minute}"));
    }
    let mut differences = Vec::new();
    let bases = ["2026-03-28 12:00:00", "2026-10-24 23:30:00", "2026-06-15 08:01:00", "2027-12-31 23:59:59"];
    for (number, expression) in expressions.iter().enumerate() {
        let zone = [ZONES[number % 3], "UTC"][number / 3 % 2];
        for base in [bases[number % 4], bases[(number + 1) % 4]] {
            let count = 3;
            let Some(theirs) = analyzed(expression, zone, base, count) else { continue };
            let ours = ours(expression, zone, base, count as usize);
            if ours != theirs {
                differences.push(format!("{expression} in {zone} after {base}: {ours:?}, systemd says {theirs:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}
