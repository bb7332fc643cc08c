//! When checks are made: a wish, a storm of wishes, a thousand upstreams at once.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Checks that come only when they are wanted.
fn seldom(check: Check) -> Health {
    Health { interval: Duration::from_secs(3600), ..quick(check) }
}

#[tokio::test]
async fn a_wanted_check_is_made_at_once() {
    let (listener, port) = listener().await;
    let id = format!("127.0.0.1:{port}");
    let mut watched = watch(pool(&[("127.0.0.1", port)], true, Some(seldom(Check::Tcp))));
    watched.until(&[State::Ready]).await;
    watched.result_of(&id).await;
    drop(listener);
    watched.pool.members()[0].health.want_check();
    watched.result_of(&id).await;
    let seen = watched.pool.members()[0].health.snapshot(Instant::now());
    assert_eq!(seen.last_failure.map(|(cause, _)| cause), Some(Cause::ConnectionRefused));
    assert!(seen.next_check.is_none_or(|next| next <= 1200 * MS), "1 s while changing: {:?}", seen.next_check);
    watched.end().await;
}

#[tokio::test]
async fn a_storm_of_wishes_is_no_storm_of_checks() {
    let (_listener, port) = listener().await;
    let watched = watch(pool(&[("127.0.0.1", port)], true, Some(seldom(Check::Tcp))));
    watched.until(&[State::Ready]).await;
    let (began, mut tick) = (Instant::now(), tokio::time::interval(2 * MS));
    while began.elapsed() < 1000 * MS {
        tick.tick().await;
        (0..100).for_each(|_| watched.pool.members()[0].health.want_check());
    }
    let (made, took) = (watched.reports.lock().unwrap().len(), began.elapsed());
    let most = took.as_millis() / 250 + 2;
    assert!((3..=most as usize).contains(&made), "{made} checks in {took:?}");
    watched.end().await;
}

/// A wish of the time while a check was on its way is a wish for the next one.
#[tokio::test]
async fn a_wish_during_a_check_is_heard_after_it() {
    let (listener, port) = listener().await;
    let mut watched = watch(pool(&[("127.0.0.1", port)], true, Some(seldom(Check::Http(http_check())))));
    let id = format!("127.0.0.1:{port}");
    let (mut first, _) = listener.accept().await.unwrap();
    read_head(&mut first).await;
    watched.pool.members()[0].health.want_check();
    first.write_all(OK).await.unwrap();
    watched.result_of(&id).await;
    let (mut second, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.expect("a second check").unwrap();
    read_head(&mut second).await;
    second.write_all(OK).await.unwrap();
    watched.result_of(&id).await;
    watched.end().await;
}

/// Together, and not in the same moment: `probe::pace` has the numbers.
#[tokio::test]
async fn a_thousand_upstreams_have_their_first_result_soon() {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let upstreams = vec![("127.0.0.1", port); 1000];
    let began = Instant::now();
    let watched = watch(pool(&upstreams, true, Some(seldom(Check::Tcp))));
    watched.until(&vec![State::Ready; 1000]).await;
    assert!(began.elapsed() >= 400 * MS, "they came at once: {:?}", began.elapsed());
    assert_eq!(watched.reports.lock().unwrap().len(), 1000, "each once");
    watched.end().await;
}

/// A thousand upstreams that say nothing hold up neither one another nor one that answers.
#[tokio::test]
async fn a_thousand_silent_upstreams_hold_up_nobody() {
    let (_silent, silent_port) = listener().await;
    let (good, good_port) = listener().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = good.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(OK).await.unwrap();
        }
    });
    let mut upstreams = vec![("127.0.0.1", silent_port); 300];
    upstreams.push(("127.0.0.1", good_port));
    let health = Health { timeout: PATIENCE, ..http() };
    let mut watched = watch(pool(&upstreams, true, Some(health)));
    for _ in 0..5 {
        assert_eq!(watched.result_of(&format!("127.0.0.1:{good_port}")).await, [] as [String; 0]);
    }
    watched.end().await;
}
