/* The event log of a run and its readers, as events.h has them. */
#include "support.h"

#include "events.h"
#include "json.h"

#include <inttypes.h>

static void scope_events(struct events *events)
{
    events_free(events);
}
#define auto_events __attribute__((cleanup(scope_events)))

/* All that a reader gives out now, in pieces of `size` bytes. */
static void read_all(const struct events *events, struct events_reader *reader, size_t size, struct buffer *out)
{
    char *bytes = malloc(size);
    ssize_t length;
    assert_non_null(bytes);
    while ((length = events_read(events, reader, bytes, size)) > 0)
        buffer_append(out, bytes, (size_t)length);
    assert_int_equal(length, 0);
    free(bytes);
}

/* What a reader that has seen `after` is told until now. */
static void told_after(const struct events *events, uint64_t after, struct buffer *out)
{
    struct events_reader reader = {.position = after};
    read_all(events, &reader, 7, out);
    assert_int_equal(reader.position, events_last(events));
    assert_int_equal(events_done(events, &reader), events->over);
    events_reader_free(&reader);
}

static void start(struct events *events)
{
    if (!events->started.length)
        repeat(&events->started, "{\"id\":\"run_x\"}", 1);
    events_start(events);
}

static void output(struct events *events, unsigned stream, const char *text)
{
    events_output(events, stream, text, strlen(text));
}

static void end(struct events *events, const char *record, const char *result, bool cut_out, bool cut_err)
{
    struct buffer body = {0};
    repeat(&body, record, 1);
    size_t at = result ? (size_t)(strstr(record, result) - record) : 0;
    events_end(events, &body, at, result ? strlen(result) : 0, (bool[]){cut_out, cut_err});
    assert_null(body.bytes);
}

static void all_events_of_a_run(void **state)
{
    auto_events struct events events = {0};
    auto_buffer struct buffer out = {0};
    (void)state;
    assert_int_equal(events_last(&events), 0);
    told_after(&events, 0, &out);
    assert_int_equal(out.length, 0);
    start(&events);
    output(&events, 0, "one\n");
    output(&events, 1, "\"oh\"");
    output(&events, 0, "two");
    output(&events, 0, "\n");
    end(&events, "{\"status\":\"ok\",\"result\":{\"a\":1}}", "{\"a\":1}", false, false);
    assert_int_equal(events_last(&events), 1 + 12 + 2);
    told_after(&events, 0, &out);
    assert_buffer(&out, "event: started\nid: 1\ndata: {\"id\":\"run_x\"}\n\n"
                        "event: stdout\nid: 5\ndata: {\"text\":\"one\\n\"}\n\n"
                        "event: stderr\nid: 9\ndata: {\"text\":\"\\\"oh\\\"\"}\n\n"
                        "event: stdout\nid: 13\ndata: {\"text\":\"two\\n\"}\n\n"
                        "event: result\nid: 14\ndata: {\"a\":1}\n\n"
                        "event: finished\nid: 15\ndata: {\"status\":\"ok\",\"result\":{\"a\":1}}\n\n");
}

static void a_run_without_a_result_has_no_such_event(void **state)
{
    auto_events struct events events = {0};
    auto_buffer struct buffer out = {0};
    (void)state;
    start(&events);
    end(&events, "{\"result\":null}", NULL, false, false);
    told_after(&events, 1, &out);
    assert_buffer(&out, "event: finished\nid: 2\ndata: {\"result\":null}\n\n");
}

static void a_run_that_never_began_has_its_end_only(void **state)
{
    auto_events struct events events = {0};
    auto_buffer struct buffer out = {0};
    (void)state;
    end(&events, "{}", NULL, false, false);
    told_after(&events, 0, &out);
    assert_buffer(&out, "event: finished\nid: 1\ndata: {}\n\n");
}

/* A reader that keeps up sees each output as it comes; whoever comes later sees the same text in fewer events. */
static void output_that_nobody_has_seen_is_one_event(void **state)
{
    auto_events struct events events = {0};
    auto_buffer struct buffer live = {0}, late = {0};
    struct events_reader reader = {0};
    (void)state;
    start(&events);
    read_all(&events, &reader, 4096, &live);
    live.length = 0;
    for (int i = 0; i < 3; i++) {
        output(&events, 0, "x");
        read_all(&events, &reader, 4096, &live);
    }
    assert_buffer(&live, "event: stdout\nid: 2\ndata: {\"text\":\"x\"}\n\n"
                         "event: stdout\nid: 3\ndata: {\"text\":\"x\"}\n\n"
                         "event: stdout\nid: 4\ndata: {\"text\":\"x\"}\n\n");
    told_after(&events, 1, &late);
    assert_buffer(&late, "event: stdout\nid: 4\ndata: {\"text\":\"xxx\"}\n\n");
    events_reader_free(&reader);
}

static void a_cut_character_waits_for_its_rest(void **state)
{
    auto_events struct events events = {0};
    auto_buffer struct buffer out = {0};
    struct events_reader reader = {.position = 1};
    (void)state;
    start(&events);
    output(&events, 0, "a\xe2\x82");
    output(&events, 1, "b"); /* it does not wait for the other stream */
    read_all(&events, &reader, 100, &out);
    assert_buffer(&out, "event: stdout\nid: 2\ndata: {\"text\":\"a\"}\n\n"
                        "event: stderr\nid: 3\ndata: {\"text\":\"b\"}\n\n");
    out.length = 0;
    output(&events, 0, "\xac");
    read_all(&events, &reader, 100, &out);
    assert_buffer(&out, "event: stdout\nid: 6\ndata: {\"text\":\"\xe2\x82\xac\"}\n\n");
    out.length = 0;
    output(&events, 0, "\xf0\x9f");
    output(&events, 1, "\xf0\x9f");
    read_all(&events, &reader, 100, &out);
    assert_int_equal(out.length, 0);
    /* At the end one stream is as it is, the other was cut by its limit. */
    end(&events, "{}", NULL, false, true);
    read_all(&events, &reader, 100, &out);
    assert_buffer(&out, "event: stdout\nid: 8\ndata: {\"text\":\"\xef\xbf\xbd\"}\n\n"
                        "event: finished\nid: 9\ndata: {}\n\n");
    events_reader_free(&reader);
}

static void a_run_that_begins_anew(void **state)
{
    auto_events struct events events = {0};
    auto_buffer struct buffer out = {0};
    struct events_reader reader = {.position = 1};
    (void)state;
    start(&events);
    output(&events, 0, "never was");
    read_all(&events, &reader, 100, &out);
    start(&events);
    output(&events, 0, "new");
    out.length = 0;
    read_all(&events, &reader, 100, &out);
    assert_buffer(&out, "event: started\nid: 11\ndata: {\"id\":\"run_x\"}\n\n"
                        "event: stdout\nid: 14\ndata: {\"text\":\"new\"}\n\n");
    for (uint64_t after = 0; after < 11; after++) {
        out.length = 0;
        told_after(&events, after, &out);
        assert_buffer(&out, "event: started\nid: 11\ndata: {\"id\":\"run_x\"}\n\n"
                            "event: stdout\nid: 14\ndata: {\"text\":\"new\"}\n\n");
    }
    events_reader_free(&reader);
}

static void a_beat_comes_between_events_only(void **state)
{
    auto_events struct events events = {0};
    auto_buffer struct buffer out = {0};
    struct events_reader reader = {0};
    char byte;
    (void)state;
    events_beat(&reader);
    start(&events);
    assert_int_equal(events_read(&events, &reader, &byte, 1), 1);
    events_beat(&reader);
    read_all(&events, &reader, 3, &out);
    events_beat(&reader);
    read_all(&events, &reader, 3, &out);
    assert_buffer(&out, "\n\nevent: started\nid: 1\ndata: {\"id\":\"run_x\"}\n\n:\n\n");
    end(&events, "{\"long\":\"record\"}", NULL, false, false);
    assert_int_equal(events_read(&events, &reader, &byte, 1), 1);
    while (reader.text.length) /* up to the record */
        assert_int_equal(events_read(&events, &reader, &byte, 1), 1);
    events_beat(&reader);
    assert_int_equal(reader.text.length, 0);
    events_reader_free(&reader);
}

/* The texts of one stream's events, put together as they are escaped. */
static void texts_of(struct span stream, const char *name, struct buffer *out)
{
    char head[32];
    size_t head_length = (size_t)snprintf(head, sizeof head, "event: %s\n", name);
    const char *at = (const char *)stream.bytes, *stop = at + stream.length;
    while (at < stop) {
        const char *line_end = memmem(at, (size_t)(stop - at), "\n\n", 2);
        assert_non_null(line_end);
        if (strncmp(at, head, head_length) == 0) {
            const char *text = strstr(at, "{\"text\":\"");
            assert_non_null(text);
            text += strlen("{\"text\":\"");
            buffer_append(out, text, (size_t)(line_end - text) - strlen("\"}"));
        }
        at = line_end + 2;
    }
}

static const char *text(struct buffer *buffer)
{
    buffer_append(buffer, "", 1);
    buffer->length--;
    return (const char *)buffer->bytes;
}

/* The output of one stream in the events is `whole` as the record has it. */
static void assert_texts(struct buffer *events, const char *name, const struct buffer *whole)
{
    auto_buffer struct buffer expected = {0}, told = {0};
    repeat(&told, "\"", 1);
    texts_of(buffer_span(events), name, &told);
    repeat(&told, "\"", 1);
    json_put_string(&expected, buffer_span(whole));
    assert_string_equal(text(&told), text(&expected));
}

/* Any bytes in any pieces: the texts together are what the whole text is, whoever reads from wherever in whatever
 * steps. */
static void the_texts_are_the_record_s(void **state)
{
    static const char *const parts[] = {"plain ",   "\xc3\xa9", "\xe2\x98\x83", "\xf0\x9f\x98\x80", "\xff",
                                        "\xe2\x98", "\n",       "\xed\xa0\x80", "\xf0\x9f"};
    uint64_t seed = 1;
    (void)state;
    for (int round = 0; round < 300; round++) {
        auto_events struct events events = {0};
        auto_buffer struct buffer out = {0}, err = {0}, told = {0}, live = {0};
        struct events_reader reader = {0};
        start(&events);
        for (int i = 0; i < 40; i++) {
            unsigned stream = random_next(&seed) % 3 == 0;
            const char *part = parts[random_next(&seed) % COUNT(parts)];
            size_t from = random_next(&seed) % strlen(part);
            output(&events, stream, part + from);
            repeat(stream ? &err : &out, part + from, 1);
            if (random_next(&seed) % 4 == 0)
                read_all(&events, &reader, 1 + random_next(&seed) % 50, &live);
        }
        end(&events, "{}", NULL, false, false);
        read_all(&events, &reader, 1 + random_next(&seed) % 50, &live);
        events_reader_free(&reader);
        told_after(&events, 0, &told);
        text(&told), text(&live); /* strstr() ends there */
        assert_texts(&told, "stdout", &out);
        assert_texts(&told, "stderr", &err);
        assert_texts(&live, "stdout", &out);
        assert_texts(&live, "stderr", &err);
    }
}

/* Long output is cut into events, and a reader may go on after any of their ids. */
static void any_id_can_be_gone_on_from(void **state)
{
    auto_events struct events events = {0};
    auto_buffer struct buffer all = {0};
    (void)state;
    start(&events);
    for (int i = 0; i < 3000; i++)
        output(&events, i % 100 == 0, "\xe2\x98\x83");
    end(&events, "{\"result\":{}}", "{}", false, false);
    told_after(&events, 0, &all);
    buffer_append(&all, "", 1);
    unsigned seen = 0;
    for (const char *at = (const char *)all.bytes; (at = strstr(at, "\nid: ")); seen++) {
        auto_buffer struct buffer rest = {0};
        uint64_t id = strtoull(at + 5, NULL, 10);
        const char *next = strstr(at, "\n\n") + 2;
        told_after(&events, id, &rest);
        assert_int_equal(rest.length, strlen(next));
        assert_memory_equal(rest.bytes ? (const char *)rest.bytes : "", next, rest.length);
        at = next - 1;
    }
    assert_true(seen > 60);
}

static void memory_is_the_output_s(void **state)
{
    auto_events struct events events = {0};
    (void)state;
    start(&events);
    for (int i = 0; i < 1 << 16; i++)
        output(&events, i & 1, "x");
    assert_true(events_bytes(&events) <= (1U << 16) * 2 * (1 + sizeof(struct events_piece)) + 1024);
    for (int i = 0; i < 1 << 20; i++)
        output(&events, 0, "x");
    assert_true(events_bytes(&events) < 4U << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_events_of_a_run),
        cmocka_unit_test(a_run_without_a_result_has_no_such_event),
        cmocka_unit_test(a_run_that_never_began_has_its_end_only),
        cmocka_unit_test(output_that_nobody_has_seen_is_one_event),
        cmocka_unit_test(a_cut_character_waits_for_its_rest),
        cmocka_unit_test(a_run_that_begins_anew),
        cmocka_unit_test(a_beat_comes_between_events_only),
        cmocka_unit_test(the_texts_are_the_record_s),
        cmocka_unit_test(any_id_can_be_gone_on_from),
        cmocka_unit_test(memory_is_the_output_s),
    };
    return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
