//! Runs the models that the library exports; quick ones by default, deep ones with `--ignored`.

/// Makes a test of each named model of one room.
macro_rules! models {
    ($room:ident: $($quick:ident)*; deep: $($deep:ident)*) => {
        mod $room {
            $(
                #[test]
                fn $quick() {
                    ringwork_loom::models::$room::$quick();
                }
            )*
            $(
                #[test]
                #[ignore = "deep: seconds to minutes in a release build"]
                fn $deep() {
                    ringwork_loom::models::$room::$deep();
                }
            )*
        }
    };
}

models!(cell:
    the_last_hold_has_the_cell_to_itself
    a_result_beside_a_poll_elsewhere
    a_result_beside_a_drop_elsewhere
    a_noted_orphan_beside_its_completion
    a_future_that_moves_and_goes_takes_its_waker_along
    an_op_dropped_at_home_ends_with_its_completion
    an_op_that_nobody_waits_for_ends_once
    an_op_from_elsewhere_beside_a_home_that_closes
    an_op_dropped_on_its_way_home;
    deep:
);

models!(idle:
    a_core_that_was_asked_knows_it
    a_surplus_is_shared_with_a_core_that_parks
    two_askers_wake_one_core
    the_monitor_does_not_sleep_through_a_wake;
    deep:
    a_surplus_is_shared_with_a_core_that_parks_deep
    the_monitor_does_not_sleep_through_a_wake_deep
);

models!(inbox:
    no_doorbell_is_lost
    no_message_is_lost_between_look_and_park
    a_core_that_looks_hears_every_push_in_the_word
    owner_and_thief_share_the_send_lane
    nothing_is_lost_in_a_close
    a_thief_does_not_undo_a_close
    a_request_is_delivered_or_refused_once;
    deep:
    no_doorbell_is_lost_deep
    owner_and_thief_share_the_send_lane_deep
);

models!(lease:
    the_ops_of_two_cores_keep_a_file_open
    a_lease_that_is_given_back_is_another_cores
    the_last_handle_goes_elsewhere_while_a_lease_is_given_back;
    deep:
);

models!(rarely:
    all_who_ask_have_one_value
    who_makes_a_value_that_was_ruled_out_sees_what_was_done_before;
    deep:
);

models!(returns:
    a_core_without_buffers_sleeps_through_no_return
    a_buffer_is_in_one_place
    a_buffer_that_is_handed_on_may_come_back_at_once;
    deep:
    a_core_without_buffers_sleeps_through_no_return_deep
);

models!(slot:
    a_waiting_task_is_woken
    the_last_waker_is_woken
    a_consumer_that_goes_leaves_no_waker
    an_armed_waker_is_woken
    a_stored_waker_ends_with_the_slot
    one_side_disposes_of_an_abandoned_value;
    deep:
);

models!(slots:
    the_last_of_a_page_has_it_to_itself
    what_strays_is_taken_again_behind_its_user;
    deep:
);

models!(queue:
    push_and_pop_against_a_thief
    overflow_against_a_thief
    overflow_against_a_thief_that_comes_back
    two_thieves_at_one_queue
    a_thief_is_stolen_from
    the_owner_goes_while_a_thief_steals;
    deep:
    two_thieves_at_one_queue_deep
    a_thief_is_stolen_from_deep
    overflow_against_two_thieves_deep
);

models!(task:
    a_wake_beside_a_poll_is_not_lost
    two_remote_wakers_make_the_task_run_for_both
    a_wake_beside_the_end_is_harmless
    the_last_waker_frees_an_ended_task
    an_abort_beside_a_run_ends_the_task_once
    an_abort_beside_a_wake_ends_the_task_once
    a_joiner_on_another_core_gets_the_output
    a_joiner_that_changes_its_waker_gets_the_output
    a_handle_dropped_beside_the_end_drops_the_output_once
    a_joiner_that_goes_takes_its_waker_along
    a_shutdown_beside_a_run_drops_the_future_once
    a_shutdown_beside_a_wake_drops_the_future_once
    a_task_woken_by_its_last_reference_ends_well;
    deep:
    two_remote_wakers_beside_a_run_deep
    abort_wake_and_join_beside_a_run_deep
    shutdown_wake_and_handle_beside_a_run_deep
);

models!(local:
    a_wake_beside_a_poll_is_not_lost
    two_remote_wakers_make_the_task_run_for_both
    a_wake_beside_the_end_is_harmless
    the_last_waker_frees_an_ended_task
    an_abort_beside_a_run_ends_the_task_once
    an_abort_beside_a_wake_ends_the_task_once
    a_joiner_on_another_core_gets_the_output
    a_joiner_that_changes_its_waker_gets_the_output
    a_handle_dropped_beside_the_end_drops_the_output_once
    a_joiner_that_goes_takes_its_waker_along
    a_shutdown_beside_a_wake_drops_the_future_once
    references_that_cross_are_counted_right
    a_home_that_closes_leaves_nothing_behind
    references_that_outlive_their_home_are_counted_by_all
    a_handle_that_waited_at_home_and_goes_elsewhere_takes_its_waker_along
    a_handle_that_goes_leaves_no_waker_with_a_task_that_sleeps
    a_task_refused_behind_a_closed_door_is_counted_by_all
    an_unborn_task_that_is_cancelled_answers_its_handle
    a_task_made_elsewhere_is_born_and_joined
    a_task_that_stays_at_home_needs_nobody
    a_newborn_that_ends_beside_a_wake_is_freed_once
    a_newborn_that_is_woken_in_its_first_poll_goes_on
    a_newborn_that_is_refused_behind_its_first_poll_is_counted_by_all;
    deep:
    two_remote_wakers_beside_a_run_deep
    everything_from_afar_beside_a_home_that_closes_deep
    a_home_that_closes_leaves_nothing_behind_deep
    an_unborn_task_that_is_cancelled_answers_its_handle_deep
);
