use super::*;
use egiz_model::Timestamp;
use egiz_twin::Limits;

fn hub(handed_over_max: usize) -> Hub {
    let engine = Arc::new(RwLock::new(Engine::new(Limits::default())));
    let settings = HubSettings { handed_over_max, ..HubSettings::default() };
    Hub::new(engine, settings, &mut Registry::default())
}

fn batch(next_offset: Offset) -> AppliedBatch {
    let now = Timestamp::default();
    AppliedBatch { next_offset, durable: now, applied: now, changes: Vec::new() }
}

#[tokio::test]
async fn while_a_client_subscribes_batches_are_handed_over_and_keep_their_order() {
    let hub = hub(10);
    {
        let subscribing = hub.routing();
        (1..=10).for_each(|offset| hub.publish(batch(offset)));
        assert_eq!((subscribing.next_offset, hub.0.handed_over.lock().len()), (0, 10));
    }
    while hub.routing().next_offset < 10 {
        tokio::task::yield_now().await;
    }
    hub.publish(batch(11));
    assert_eq!(hub.routing().next_offset, 11);
    assert_eq!(hub.metrics().waits.get(), 0);
}

#[tokio::test]
async fn at_the_bound_the_publisher_waits_and_is_counted() {
    let hub = hub(1);
    let subscribing = hub.routing();
    hub.publish(batch(1));
    let publisher = std::thread::spawn({
        let hub = hub.clone();
        move || hub.publish(batch(2))
    });
    while hub.metrics().waits.get() == 0 {
        std::thread::yield_now();
    }
    drop(subscribing);
    publisher.join().expect("it ends");
    assert_eq!(hub.routing().next_offset, 2);
}

#[test]
fn without_a_runtime_everything_is_routed_at_once() {
    let hub = hub(10);
    hub.publish(batch(1));
    assert_eq!(hub.routing().next_offset, 1);
}
