"""What holds for a plain connection holds through TLS: the same tests, with another server."""
from certificates import secure_server as server  # noqa: F401 (for the tests)
from test_bad_input import (  # noqa: F401 (pytest finds them here)
    still_serves,
    test_10000_idle_connections,
    test_a_body_of_exactly_the_limit,
    test_a_head_answer_has_no_body,
    test_a_head_byte_by_byte,
    test_a_large_head,
    test_a_refused_head_request_has_no_body,
    test_a_request_after_a_refused_one_on_the_same_connection,
    test_a_slow_body_holds_up_nobody,
    test_a_slow_header_holds_up_nobody,
    test_an_oversized_body_is_refused_before_it_is_sent,
    test_an_oversized_body_that_is_sent_all_the_same,
    test_concurrent_requests,
    test_doubtful_framing,
    test_doubtful_framing_in_pieces,
    test_doubtful_framing_of_a_later_request,
    test_expect_100_continue,
    test_http_1_0,
    test_keep_alive,
    test_malformed,
    test_nothing_is_smuggled,
    test_pipelined_requests_are_answered_in_order,
)
from test_contract import test_row  # noqa: F401
