/* Accept, Prefer and Last-Event-ID, as wishes.h has them. */
#include "support.h"

#include "wishes.h"

static void what_accept_wants(void **state)
{
    static const struct {
        const char *value;
        bool stream;
    } rows[] = {
        {"text/event-stream", true},
        {"Text/Event-Stream", true},
        {" text/event-stream ; q=0.2 ", true},
        {"text/event-stream;charset=utf-8", true},
        {"text/*", true},
        {"text/event-stream, application/json;q=0.9", true},
        {"application/json;q=0.9, text/event-stream", true},
        {"text/event-stream, */*", true}, /* it is named, JSON is not */
        {"text/event-stream;q=0.5, */*;q=0.1", true},
        {"application/json;q=0, */*", true},
        {"text/event-stream;q=0.001", true},
        {"text/event-stream;v=\"a,b;q=0\"", true},
        {"text/event-stream;v=\"\\\",\";q=0.3, application/json;q=0.2", true},
        {"image/png;q=0.1,,text/event-stream;;q=1.000", true},
        {"", false},
        {"*/*", false},
        {"application/json", false},
        {"application/*, text/*", false},
        {"application/json, text/event-stream", false}, /* as much one as the other */
        {"text/event-stream, application/json", false},
        {"text/event-stream;q=0.9, application/json", false},
        {"text/event-stream;q=0", false},
        {"text/event-stream;q=0.000, */*", false},
        {"text/event-stream;q=0, text/*", false}, /* the most exact range counts */
        {"text/*, text/event-stream;q=0", false},
        {"text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", false}, /* a browser */
        {"text/html", false},
        /* not understood: passed over */
        {"text/event-stream;q=2", false},
        {"text/event-stream;q=1.001", false},
        {"text/event-stream;q=0.1234", false},
        {"text/event-stream;q=-1", false},
        {"text/event-stream;q=", false},
        {"text/event-stream;q=.5", false},
        {"text/event-stream;q=a", false},
        {"text/event-stream x", false},
        {"text /event-stream", false},
        {"text/event-streams", false},
        {"\"text/event-stream\"", false},
        {"\"text/event-stream", false},
        {"\\", false},
        {";,;,=", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct wishes wishes = {0};
        wishes_accept(&wishes, rows[i].value);
        if (wishes_stream(&wishes) != rows[i].stream)
            fail_msg("Accept: %s", rows[i].value);
    }
}

static void several_lines_are_one_list(void **state)
{
    struct wishes wishes = {0};
    (void)state;
    assert_false(wishes_stream(&wishes));
    wishes_accept(&wishes, "application/json;q=0.3");
    wishes_accept(&wishes, "text/event-stream;q=0.4");
    assert_true(wishes_stream(&wishes));
    wishes_accept(&wishes, "application/json;q=0.5");
    assert_false(wishes_stream(&wishes));
}

static void what_prefer_wants(void **state)
{
    static const struct {
        const char *value;
        bool async;
    } rows[] = {
        {"respond-async", true},
        {"Respond-Async", true},
        {"respond-async, wait=10", true},
        {"wait=10,respond-async", true},
        {"respond-async; foo=bar", true},
        {"return=minimal; foo=\"a,b\", respond-async", true},
        {"respond-async=", true},
        {"respond-async=\"\"", true},
        {" respond-async\t", true},
        {"respond-async = \"\"", true},
        {"", false},
        {"respond-asynchronous", false},
        {"wait=respond-async", false},
        {"foo; respond-async", false},
        {"\"respond-async\"", false},
        {"foo=\", respond-async", false},
        {"respond-async=no", false},
        {"=respond-async", false},
        {"handling=lenient", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct wishes wishes = {0};
        wishes_prefer(&wishes, rows[i].value);
        if (wishes.async != rows[i].async)
            fail_msg("Prefer: %s", rows[i].value);
    }
}

static void event_ids(void **state)
{
    static const char *const wrong[] = {
        "x", "-1", "+1", " 1", "1 ", "0x1", "1.0", "1e3", "1,2", "9999999999999999999", "99999999999999999999999"};
    uint64_t id = 7;
    (void)state;
    assert_true(last_event_id(NULL, &id));
    assert_int_equal(id, 0);
    assert_true(last_event_id("", &id));
    assert_int_equal(id, 0);
    assert_true(last_event_id("0", &id));
    assert_int_equal(id, 0);
    assert_true(last_event_id("00042", &id));
    assert_int_equal(id, 42);
    assert_true(last_event_id("999999999999999999", &id));
    assert_int_equal(id, UINT64_C(999999999999999999));
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_false(last_event_id(wrong[i], &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_accept_wants),
        cmocka_unit_test(several_lines_are_one_list),
        cmocka_unit_test(what_prefer_wants),
        cmocka_unit_test(event_ids),
    };
    return cmocka_run_group_tests_name("wishes", tests, NULL, NULL);
}
