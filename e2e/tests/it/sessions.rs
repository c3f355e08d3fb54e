//! Sessions that wait for their clients: acknowledged means durable for them, too, and QoS 2 means once.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use e2e::careful::Careful;
use e2e::{Program, ProgramOptions, rounds};
use rand::Rng as _;

const PATIENCE: Duration = Duration::from_secs(60);
const MESSAGES: usize = 500;
const ROUNDS: u64 = 12;

/// The case in which Mosquitto, with persistence and its defaults, keeps none: 500 messages and a retained one, all
/// acknowledged, for a client that is away; then the power goes.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_once_a_session_that_is_away_has_all_its_messages() -> anyhow::Result<()> {
    for qos in [1, 2] {
        let mut program = Program::start(ProgramOptions::default()).await?;
        let mut hearer = Careful::new("hearer");
        assert!(!hearer.connect(program.mqtt_port).await?);
        hearer.subscribe("plan/#", qos).await?;
        hearer.drop_connection();

        let mut publisher = Careful::new("publisher");
        publisher.connect(program.mqtt_port).await?;
        for number in 0..MESSAGES {
            publisher.publish("plan/a", &number.to_string(), qos, false).await?;
        }
        publisher.publish("status/line-1", "running", qos, true).await?;
        publisher.take_until(PATIENCE, |own| own.acknowledged.len() == MESSAGES + 1).await?;
        program.kill()?;
        program.restart().await?;

        assert!(hearer.connect(program.mqtt_port).await?, "the session is there");
        hearer.take_until(PATIENCE, |own| own.heard.len() >= MESSAGES).await?;
        hearer.take_until_quiet(Duration::from_millis(300)).await?;
        let expected: Vec<_> = (0..MESSAGES).map(|number| (qos, number.to_string())).collect();
        assert!(hearer.heard == expected, "each once and in order: {} messages", hearer.heard.len());

        hearer.heard.clear();
        hearer.subscribe("status/#", qos).await?;
        hearer.take_until(PATIENCE, |own| !own.heard.is_empty()).await?;
        assert_eq!(hearer.heard, [(qos, "running".to_owned())]);
    }
    Ok(())
}

/// Both clients go on where they were, round after round.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_qos_1_arrives_and_qos_2_arrives_once() -> anyhow::Result<()> {
    let mut program = Program::start(ProgramOptions::default()).await?;
    let (mut hearer, mut publisher) = (Careful::new("hearer"), Careful::new("publisher"));
    hearer.connect(program.mqtt_port).await?;
    hearer.subscribe("plan/#", 2).await?;
    publisher.connect(program.mqtt_port).await?;
    let mut number = 0_u64;
    for _ in 0..rounds(ROUNDS)? {
        let life = Duration::from_millis(rand::rng().random_range(30..300));
        let hearing = async {
            // Until the program dies.
            let _ = hearer.take_until(PATIENCE, |_| false).await;
        };
        let publishing = async {
            loop {
                for _ in 0..10 {
                    let qos = if number.is_multiple_of(3) { 1 } else { 2 };
                    let payload = number.to_string();
                    number += 1;
                    if publisher.publish("plan/a", &payload, qos, false).await.is_err() {
                        return;
                    }
                }
                if publisher.take_until(PATIENCE, |own| own.under_way() < 200).await.is_err() {
                    return;
                }
            }
        };
        let killing = async {
            tokio::time::sleep(life).await;
            program.kill()
        };
        let ((), (), killed) = tokio::join!(hearing, publishing, killing);
        killed?;
        program.restart().await?;
        assert!(hearer.connect(program.mqtt_port).await?, "the session is there");
        assert!(publisher.connect(program.mqtt_port).await?, "the session is there");
    }
    let finishing = publisher.take_until(PATIENCE, |own| own.under_way() == 0);
    let (mut distinct, mut looked_at) = (HashSet::new(), 0);
    let hearing = hearer.take_until(PATIENCE, |own| {
        distinct.extend(own.heard[looked_at..].iter().map(|(_, payload)| payload.clone()));
        looked_at = own.heard.len();
        distinct.len() as u64 == number
    });
    let (finished, heard) = tokio::join!(finishing, hearing);
    finished.with_context(|| format!("{} messages were never answered", publisher.under_way()))?;
    heard
        .with_context(|| format!("{} of {number} messages came, {looked_at} with repeats", distinct.len()))?;
    hearer.take_until_quiet(Duration::from_millis(300)).await?;
    let of =
        |qos: u8| hearer.heard.iter().filter(move |(own, _)| *own == qos).map(|(_, payload)| payload.parse());
    let twice: Vec<u64> = of(2).collect::<Result<_, _>>()?;
    let expected: Vec<u64> = (0..number).filter(|number| !number.is_multiple_of(3)).collect();
    let first_fault = twice.iter().zip(&expected).position(|(came, expected)| came != expected);
    assert!(
        twice == expected,
        "QoS 2: {} of {} messages, each once and in order; from place {first_fault:?} on came {:?} in place of {:?}",
        twice.len(),
        expected.len(),
        first_fault.map(|at| &twice[at.saturating_sub(3)..(at + 12).min(twice.len())]),
        first_fault.map(|at| &expected[at.saturating_sub(3)..(at + 12).min(expected.len())])
    );
    let once: HashSet<u64> = of(1).collect::<Result<_, _>>()?;
    assert_eq!(once.len() as u64, number.div_ceil(3), "QoS 1 arrives");
    Ok(())
}

/// A program that is killed in the first moments of its sessions' lives, when subscription, session and messages are under
/// way side by side.
#[tokio::test]
async fn killed_in_a_sessions_first_moments_qos_2_arrives_once() -> anyhow::Result<()> {
    for _ in 0..rounds(ROUNDS)? {
        let mut program = Program::start(ProgramOptions::default()).await?;
        let (mut hearer, mut publisher) = (Careful::new("hearer"), Careful::new("publisher"));
        hearer.connect(program.mqtt_port).await?;
        hearer.subscribe("plan/#", 2).await?;
        publisher.connect(program.mqtt_port).await?;
        let life = Duration::from_micros(rand::rng().random_range(0..40_000));
        let hearing = async {
            let _ = hearer.take_until(PATIENCE, |_| false).await;
        };
        let publishing = async {
            for number in 0..200 {
                // What could not be sent is sent by the next connection.
                let _ = publisher.publish("plan/a", &number.to_string(), 2, false).await;
            }
        };
        let killing = async {
            tokio::time::sleep(life).await;
            program.kill()
        };
        let ((), (), killed) = tokio::join!(hearing, publishing, killing);
        killed?;
        program.restart().await?;
        assert!(hearer.connect(program.mqtt_port).await?, "the session is there");
        assert!(publisher.connect(program.mqtt_port).await?, "the session is there");
        publisher.take_until(PATIENCE, |own| own.under_way() == 0).await?;
        hearer.take_until(PATIENCE, |own| own.heard.len() >= 200).await?;
        hearer.take_until_quiet(Duration::from_millis(100)).await?;
        let heard: Vec<u64> =
            hearer.heard.iter().map(|(_, payload)| payload.parse()).collect::<Result<_, _>>()?;
        assert_eq!(heard, (0..200).collect::<Vec<_>>(), "each once and in order, killed after {life:?}");
    }
    Ok(())
}
