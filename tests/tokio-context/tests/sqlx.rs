//! `sqlx`, unchanged, in tasks of ringwork: a pool of connections to a database in memory.
//!
//! Its connections go back to their pool in a task of tokio's that a destructor starts.

use ringwork_tokio_context_tests::{runtime, soon};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

/// One connection, so that there is one database.
async fn database() -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    sqlx::query("CREATE TABLE kept (task INTEGER, round INTEGER)").execute(&pool).await.unwrap();
    pool
}

async fn count(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM kept").fetch_one(pool).await.unwrap()
}

#[test]
fn a_pool_is_shared_by_tasks_on_all_cores() {
    soon(|| {
        let runtime = runtime(2);
        let pool = runtime.block_on(database());
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let pool = pool.clone();
                runtime.spawn(async move {
                    for round in 0..10 {
                        ringwork::core::move_to(round % 2).await;
                        let mut transaction = pool.begin().await.unwrap();
                        let insert = sqlx::query("INSERT INTO kept VALUES (?, ?)");
                        let insert = insert.bind(task).bind(round as i64);
                        insert.execute(&mut *transaction).await.unwrap();
                        // Each second one is dropped, which rolls it back.
                        if round % 2 == 0 {
                            transaction.commit().await.unwrap();
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
        assert_eq!(runtime.block_on(count(&pool)), 40);
        runtime.block_on(pool.close());
    });
}

#[test]
fn connections_in_use_end_with_the_runtime() {
    soon(|| {
        let runtime = runtime(2);
        let pool = runtime.block_on(database());
        let (begin, begun) = mpsc::channel();
        drop(runtime.spawn(async move {
            let _connection = pool.acquire().await.unwrap();
            begin.send(()).unwrap();
            pending::<()>().await;
        }));
        begun.recv().unwrap();
        let report = runtime.shutdown_timeout(Duration::from_secs(20));
        assert!(report.is_clean(), "{report}");
    });
}
