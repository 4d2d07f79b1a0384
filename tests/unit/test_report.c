/* report.c: only what our own code in the jail would write is believed; all else is forged, byte for byte. */
#include "support.h"

#include "report.h"
#include "request.h"

static const uint8_t *const nonce = (const uint8_t *)"fedcba9876543210";

static void add(struct buffer *out, enum frame_tag tag, const char *text)
{
    buffer_append_frame(out, tag, text, strlen(text));
}

static void add_u32(struct buffer *out, enum frame_tag tag, uint32_t value)
{
    buffer_append_frame(out, tag, &value, sizeof value);
}

static void add_nonce(struct buffer *out)
{
    buffer_append_frame(out, FRAME_NONCE, nonce, NONCE_BYTES);
}

static enum verdict_kind parse_at(const struct buffer *from, uint64_t most, struct report *report)
{
    struct limits limits;
    limits_default(&limits);
    limits.value[LIMIT_RESULT] = most;
    auto_free uint8_t *copy = exact_copy(buffer_span(from));
    assert_int_equal(report_parse((struct span){copy, from->length}, nonce, &limits, report), 0);
    if (report->verdict.kind == VERDICT_FORGED || report->verdict.kind == VERDICT_NONE) {
        struct report empty = {.verdict.kind = report->verdict.kind};
        assert_memory_equal(report, &empty, sizeof empty);
    }
    return report->verdict.kind;
}

static enum verdict_kind parse(const struct buffer *from)
{
    struct report report;
    return parse_at(from, 8 << 20, &report);
}

static bool span_is(struct span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.bytes, text, span.length) == 0;
}

/* An honest report with everything in it. */
static void honest_result(struct buffer *out)
{
    add_nonce(out);
    add(out, FRAME_RESULT, "{\"message\":\"done\"}");
    add(out, FRAME_FILE_PATH, "plot.png");
    add(out, FRAME_FILE_DATA, "PNG");
    add(out, FRAME_FILE_PATH, "out/b");
    add(out, FRAME_FILE_DATA, "");
    add(out, FRAME_END, "");
}

static void honest_failure(struct buffer *out)
{
    add_nonce(out);
    add_u32(out, FRAME_FAILURE, FAIL_RAISED);
    add(out, FRAME_TYPE, "ValueError");
    add(out, FRAME_MESSAGE, "bad");
    add_u32(out, FRAME_LINE, 7);
    add(out, FRAME_TRACEBACK, "Traceback");
    add(out, FRAME_FILE_PATH, "a");
    add(out, FRAME_FILE_DATA, "1");
    add(out, FRAME_END, "");
}

static void test_honest(void **state)
{
    struct report report;
    struct limits limits;
    auto_buffer struct buffer result = {0}, failure = {0};
    (void)state;
    limits_default(&limits);
    honest_result(&result);
    assert_int_equal(report_parse(buffer_span(&result), nonce, &limits, &report), 0);
    assert_int_equal(report.verdict.kind, VERDICT_RESULT);
    assert_true(span_is(report.result, "{\"message\":\"done\"}"));
    assert_int_equal(report.file_count, 2);
    assert_true(span_is(report.files[0].path, "plot.png") && span_is(report.files[0].data, "PNG"));
    assert_true(span_is(report.files[1].path, "out/b") && report.files[1].data.length == 0);

    honest_failure(&failure);
    assert_int_equal(report_parse(buffer_span(&failure), nonce, &limits, &report), 0);
    assert_int_equal(report.verdict.kind, VERDICT_FAILURE);
    assert_int_equal(report.verdict.failure, FAIL_RAISED);
    assert_true(span_is(report.verdict.type, "ValueError") && span_is(report.verdict.message, "bad"));
    assert_true(span_is(report.verdict.traceback, "Traceback"));
    assert_int_equal(report.verdict.line, 7);
    assert_int_equal(report.result.length, 0);
    assert_int_equal(report.file_count, 1);
}

static void test_empty(void **state)
{
    struct buffer nothing = {0};
    (void)state;
    assert_int_equal(parse(&nothing), VERDICT_NONE);
}

/* No beginning of a report is one, nor is a report with anything behind it. */
static void test_truncated(void **state)
{
    void (*const makers[])(struct buffer *) = {honest_result, honest_failure};
    (void)state;
    for (size_t i = 0; i < COUNT(makers); i++) {
        auto_buffer struct buffer whole = {0};
        makers[i](&whole);
        for (size_t length = 1; length < whole.length; length++) {
            struct buffer part = {.bytes = whole.bytes, .length = length};
            assert_int_equal(parse(&part), VERDICT_FORGED);
        }
        for (unsigned byte = 0; byte < 256; byte++) {
            size_t length = whole.length;
            buffer_append(&whole, &(uint8_t){(uint8_t)byte}, 1);
            assert_int_equal(parse(&whole), VERDICT_FORGED);
            whole.length = length;
        }
        makers[i](&whole);
        assert_int_equal(parse(&whole), VERDICT_FORGED);
    }
}

/* A flipped bit in the nonce, a tag or a length is never the same kind of report again. */
static void test_flipped(void **state)
{
    auto_buffer struct buffer whole = {0};
    (void)state;
    honest_result(&whole);
    for (size_t at = 0; at < whole.length; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            whole.bytes[at] ^= (uint8_t)(1u << bit);
            enum verdict_kind kind = parse(&whole);
            assert_true(kind == VERDICT_FORGED || kind == VERDICT_RESULT);
            if (at < 8 + NONCE_BYTES + 8)
                assert_int_equal(kind, VERDICT_FORGED);
            whole.bytes[at] ^= (uint8_t)(1u << bit);
        }
    }
    assert_int_equal(parse(&whole), VERDICT_RESULT);
}

/* The frames of the two honest reports, for the tests of their order. */
static const enum frame_tag orders[][8] = {
    {FRAME_NONCE, FRAME_RESULT, FRAME_FILE_PATH, FRAME_FILE_DATA, FRAME_END},
    {FRAME_NONCE, FRAME_FAILURE, FRAME_TYPE, FRAME_MESSAGE, FRAME_LINE, FRAME_TRACEBACK, FRAME_END},
};

static void add_any(struct buffer *out, enum frame_tag tag)
{
    switch (tag) {
    case FRAME_NONCE:
        add_nonce(out);
        return;
    case FRAME_FAILURE:
    case FRAME_LINE:
        add_u32(out, tag, 1);
        return;
    case FRAME_RESULT:
        add(out, tag, "{}");
        return;
    case FRAME_END:
        add(out, tag, "");
        return;
    default:
        add(out, tag, "x");
    }
}

/* Leaving out, doubling or replacing any one frame forges the report; swapping two does, too. */
static void test_order(void **state)
{
    (void)state;
    for (size_t row = 0; row < COUNT(orders); row++) {
        size_t count = 0;
        while (count < 8 && orders[row][count])
            count++;
        for (size_t at = 0; at < count; at++) {
            for (unsigned tag = 0; tag <= FRAME_TRACEBACK + 1; tag++) {
                auto_buffer struct buffer replaced = {0}, inserted = {0}, swapped = {0};
                for (size_t i = 0; i < count; i++) {
                    add_any(&replaced, i == at ? (enum frame_tag)tag : orders[row][i]);
                    if (i == at)
                        add_any(&inserted, (enum frame_tag)tag);
                    add_any(&inserted, orders[row][i]);
                    add_any(&swapped, i == at && i  ? orders[row][i - 1]
                                      : i + 1 == at ? orders[row][at]
                                                    : orders[row][i]);
                }
                if (orders[row][at] != tag)
                    assert_int_equal(parse(&replaced), VERDICT_FORGED);
                assert_int_equal(parse(&inserted), VERDICT_FORGED);
                assert_int_equal(parse(&swapped) == VERDICT_FORGED, at != 0);
            }
            auto_buffer struct buffer without = {0};
            for (size_t i = 0; i < count; i++) {
                if (i != at)
                    add_any(&without, orders[row][i]);
            }
            assert_int_equal(parse(&without), VERDICT_FORGED);
        }
    }
}

static enum verdict_kind parse_result(const char *text)
{
    auto_buffer struct buffer out = {0};
    add_nonce(&out);
    add(&out, FRAME_RESULT, text);
    add(&out, FRAME_END, "");
    return parse(&out);
}

static void test_results(void **state)
{
    static const char *const forged[] = {"",
                                         "1",
                                         "null",
                                         "[]",
                                         "\"x\"",
                                         "{} ",
                                         " {}",
                                         "{\"a\": 1}",
                                         "{\"a\":NaN}",
                                         "{\"a\":1,\"a\":2}",
                                         "{\"a\":\"\xff\"}",
                                         "{}{}",
                                         "{\"a\":\"\xed\xa0\x80\"}",
                                         "{\"a\":Infinity}",
                                         "{\"a\":1,}",
                                         "{\"a\":\"\\/\"}"};
    (void)state;
    assert_int_equal(parse_result("{}"), VERDICT_RESULT);
    assert_int_equal(parse_result("{\"a\":[1,-0.0,1e+308,\"\\ud800\\u0000€\"]}"), VERDICT_RESULT);
    for (size_t i = 0; i < COUNT(forged); i++) {
        if (parse_result(forged[i]) != VERDICT_FORGED)
            fail_msg("believed: %s", forged[i]);
    }
}

/* A report of a failure with texts of these lengths. */
static enum verdict_kind parse_failure(uint32_t failure, size_t type, size_t message, size_t traceback)
{
    auto_buffer struct buffer out = {0};
    auto_free char *text = calloc(1, REPORT_TRACEBACK_BYTES + 1);
    assert_non_null(text);
    add_nonce(&out);
    add_u32(&out, FRAME_FAILURE, failure);
    buffer_append_frame(&out, FRAME_TYPE, text, type);
    buffer_append_frame(&out, FRAME_MESSAGE, text, message);
    add_u32(&out, FRAME_LINE, 0);
    buffer_append_frame(&out, FRAME_TRACEBACK, text, traceback);
    add(&out, FRAME_END, "");
    return parse(&out);
}

static void test_failures(void **state)
{
    (void)state;
    for (uint32_t failure = 0; failure < 300; failure++)
        assert_int_equal(parse_failure(failure, 0, 0, 0),
                         failure && failure < FAIL_COUNT ? VERDICT_FAILURE : VERDICT_FORGED);
    assert_int_equal(parse_failure(UINT32_MAX, 0, 0, 0), VERDICT_FORGED);
    assert_int_equal(parse_failure(1, REPORT_TYPE_BYTES, REPORT_MESSAGE_BYTES, REPORT_TRACEBACK_BYTES),
                     VERDICT_FAILURE);
    assert_int_equal(parse_failure(1, REPORT_TYPE_BYTES + 1, 0, 0), VERDICT_FORGED);
    assert_int_equal(parse_failure(1, 0, REPORT_MESSAGE_BYTES + 1, 0), VERDICT_FORGED);
    assert_int_equal(parse_failure(1, 0, 0, REPORT_TRACEBACK_BYTES + 1), VERDICT_FORGED);
}

static void test_u32_sizes(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 9; size++) {
        for (int which = 0; which < 2; which++) {
            auto_buffer struct buffer out = {0};
            uint8_t one[9] = {1};
            add_nonce(&out);
            buffer_append_frame(&out, FRAME_FAILURE, one, which ? 4 : size);
            add(&out, FRAME_TYPE, "");
            add(&out, FRAME_MESSAGE, "");
            buffer_append_frame(&out, FRAME_LINE, one, which ? size : 4);
            add(&out, FRAME_TRACEBACK, "");
            add(&out, FRAME_END, "");
            assert_int_equal(parse(&out), size == 4 ? VERDICT_FAILURE : VERDICT_FORGED);
        }
    }
}

static void test_nonces(void **state)
{
    (void)state;
    for (size_t length = 0; length <= NONCE_BYTES + 1; length++) {
        auto_buffer struct buffer out = {0};
        uint8_t longer[NONCE_BYTES + 1] = {0};
        memcpy(longer, nonce, NONCE_BYTES);
        buffer_append_frame(&out, FRAME_NONCE, longer, length);
        add(&out, FRAME_RESULT, "{}");
        add(&out, FRAME_END, "");
        assert_int_equal(parse(&out), length == NONCE_BYTES ? VERDICT_RESULT : VERDICT_FORGED);
    }
}

static enum verdict_kind parse_files(const char *const paths[], size_t count, size_t each, uint64_t most)
{
    auto_buffer struct buffer out = {0}, data = {0};
    struct report report;
    repeat(&data, "x", each);
    add_nonce(&out);
    add(&out, FRAME_RESULT, "{}");
    for (size_t i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%zu", i);
        add(&out, FRAME_FILE_PATH, paths ? paths[i] : name);
        buffer_append_frame(&out, FRAME_FILE_DATA, data.bytes, data.length);
    }
    add(&out, FRAME_END, "");
    enum verdict_kind kind = parse_at(&out, most, &report);
    assert_int_equal(report.file_count, kind == VERDICT_RESULT ? count : 0);
    return kind;
}

static void test_files(void **state)
{
    static const char *const bad[] = {"",     "/a",     "a/",  "a//b", ".",           "..",
                                      "../a", "a/../b", "a/.", "\xff", "\xed\xa0\x80"};
    (void)state;
    assert_int_equal(parse_files(NULL, REPORT_FILES, 1, 100), VERDICT_RESULT);
    assert_int_equal(parse_files(NULL, REPORT_FILES + 1, 0, 100), VERDICT_FORGED);
    assert_int_equal(parse_files(NULL, 2, 50, 100), VERDICT_RESULT);
    assert_int_equal(parse_files(NULL, 2, 51, 100), VERDICT_FORGED);
    assert_int_equal(parse_files(NULL, 1, 101, 100), VERDICT_FORGED);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(parse_files(&bad[i], 1, 1, 100), VERDICT_FORGED);
    assert_int_equal(parse_files((const char *const[]){"a", "b"}, 2, 1, 100), VERDICT_RESULT);
    assert_int_equal(parse_files((const char *const[]){"a", "a"}, 2, 1, 100), VERDICT_FORGED);
    assert_int_equal(parse_files((const char *const[]){"a b\n€", "A b\n€"}, 2, 1, 100), VERDICT_RESULT);

    auto_buffer struct buffer nul = {0};
    add_nonce(&nul);
    add(&nul, FRAME_RESULT, "{}");
    buffer_append_frame(&nul, FRAME_FILE_PATH, "a\0b", 3);
    add(&nul, FRAME_FILE_DATA, "");
    add(&nul, FRAME_END, "");
    assert_int_equal(parse(&nul), VERDICT_FORGED);
}

/* Lengths that a reader with 32-bit sums would fall for. */
static void test_lengths(void **state)
{
    static const uint32_t lengths[] = {3, 0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffff8, 0xffffffff};
    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        auto_buffer struct buffer out = {0};
        add_nonce(&out);
        buffer_append(&out, (uint32_t[]){FRAME_RESULT, lengths[i]}, 8);
        buffer_append(&out, "{}", 2);
        add(&out, FRAME_END, "");
        assert_int_equal(parse(&out), VERDICT_FORGED);
    }
}

static void test_result_limit(void **state)
{
    struct report report;
    auto_buffer struct buffer out = {0};
    (void)state;
    add_nonce(&out);
    add(&out, FRAME_RESULT, "{\"a\":123}");
    add(&out, FRAME_END, "");
    assert_int_equal(parse_at(&out, 9, &report), VERDICT_RESULT);
    assert_int_equal(parse_at(&out, 8, &report), VERDICT_FORGED);
}

/* The longest honest report is as long as report_most() says, give or take what a result and a failure do not share. */
static void test_most(void **state)
{
    struct limits limits;
    auto_buffer struct buffer out = {0}, filler = {0};
    struct report report;
    (void)state;
    limits_default(&limits);
    limits.value[LIMIT_RESULT] = 200000;
    repeat(&filler, "x", 200000);
    memcpy(filler.bytes, "{\"a\":\"", 6);
    memcpy(filler.bytes + filler.length - 2, "\"}", 2);
    add_nonce(&out);
    buffer_append_frame(&out, FRAME_RESULT, filler.bytes, filler.length);
    for (unsigned i = 0; i < REPORT_FILES; i++) {
        auto_buffer struct buffer path = {0};
        repeat(&path, "0123456789012345/", PATH_BYTES / 17);
        memset(path.bytes, 'a' + (int)(i / 26), 1);
        memset(path.bytes + 1, 'a' + (int)(i % 26), 1);
        path.length = 16 * 17 - 1;
        buffer_append_frame(&out, FRAME_FILE_PATH, path.bytes, path.length);
        buffer_append_frame(&out, FRAME_FILE_DATA, filler.bytes, 2000);
    }
    add(&out, FRAME_END, "");
    assert_int_equal(parse_at(&out, 200000, &report), VERDICT_RESULT);
    assert_true(out.length <= report_most(&limits));
}

static void test_random(void **state)
{
    uint64_t seed = 7;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        auto_buffer struct buffer out = {0};
        add_nonce(&out);
        for (uint64_t frames = random_next(&seed) % 8; frames; frames--)
            add_any(&out, (enum frame_tag)(random_next(&seed) % (FRAME_TRACEBACK + 2)));
        enum verdict_kind kind = parse(&out);
        assert_true(kind != VERDICT_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_honest),   cmocka_unit_test(test_empty),     cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),  cmocka_unit_test(test_order),     cmocka_unit_test(test_results),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_u32_sizes), cmocka_unit_test(test_nonces),
        cmocka_unit_test(test_files),    cmocka_unit_test(test_lengths),   cmocka_unit_test(test_result_limit),
        cmocka_unit_test(test_most),     cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
