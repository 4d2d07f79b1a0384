/* Memory that runs out, at each allocation in turn: a request or report is then the server's fault, never accepted in
 * part, never forged by a script, and nothing leaks or breaks. Linked with --wrap for malloc and realloc. */
#include "support.h"

#include "record.h"
#include "report.h"
#include "request.h"

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *memory, size_t size);

/* Allocations that still succeed; -1: all do. The one after the last of them fails, and so do the rest. */
static long allowed = -1;
static bool denied;

static bool deny(void)
{
    if (allowed < 0)
        return false;
    if (allowed > 0) {
        allowed--;
        return false;
    }
    denied = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return deny() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return deny() ? NULL : __real_realloc(memory, size);
}

static const uint8_t *const nonce = (const uint8_t *)"0123456789abcdef";

static void test_request(void **state)
{
    static const struct span bodies[] = {
        SPAN("{\"script\":\"a\\u0062\",\"input\":[1],\"stdin\":\"in\",\"files\":{\"p\\u002fq\":\"t\",\"b\":{\"base64\":"
             "\"Zm9v\"}},\"return_files\":[\"*\"],\"limits\":{\"wall_ms\":100}}"),
        SPAN("{\"script\":\"\",\"files\":{\"a\":\"\"}}"),
        SPAN("{\"script\":\"x\",\"sc\\u0072ipts\":1}"),
        SPAN("{\"script\":\"x\",\"files\":{\"../a\":\"\"}}"),
        SPAN("{\"script\":\"x\",\"return_files\":[\"/a\"]}"),
        SPAN("{\"script\":\"x\",\"a\":1,\"a\":2}"),
    };
    static struct environment_offers offers = {{{.name = "default", .offered = true}}};
    struct limits *server = &offers.rows[0].limits;
    (void)state;
    limits_default(server);
    for (size_t i = 0; i < COUNT(bodies); i++) {
        denied = true;
        for (long n = 0; denied; n++) {
            struct request request;
            struct request_error error = {0};
            denied = false;
            allowed = n;
            int result = request_parse(bodies[i], "application/json", &offers, server, nonce, &request, &error);
            allowed = -1;
            if (denied && result == 0)
                fail_msg("body %zu was accepted without its allocation %ld", i, n);
            assert_true(result == 0 || error.http == 400 || (denied && error.http == 503));
            assert_true(result < 0 || i < 2);
            if (result == 0)
                request_free(&request);
            else
                assert_true(!request.job.bytes && !request.stdin_bytes.bytes && *error.text);
        }
    }
}

static void test_report(void **state)
{
    auto_buffer struct buffer bytes = {0};
    static const char result[] = "{\"a\":{\"longer than eight bytes\":1,\"b\":2},\"\\n\":3}";
    struct limits limits;
    struct report report;
    (void)state;
    limits_default(&limits);
    buffer_append_frame(&bytes, FRAME_NONCE, nonce, NONCE_BYTES);
    buffer_append_frame(&bytes, FRAME_RESULT, result, strlen(result));
    buffer_append_frame(&bytes, FRAME_END, NULL, 0);
    denied = true;
    for (long n = 0; denied; n++) {
        denied = false;
        allowed = n;
        int parsed = report_parse(buffer_span(&bytes), nonce, &limits, &report);
        allowed = -1;
        assert_int_equal(parsed, denied ? -1 : 0);
        assert_int_equal(report.verdict.kind, denied ? VERDICT_FORGED : VERDICT_RESULT);
    }
}

static void test_record(void **state)
{
    static struct outcome outcome = {.status = STATUS_KILLED, .type = "killed", .message = "m", .text = "t"};
    static struct report report = {.file_count = 1, .files = {{SPAN("a"), SPAN("data")}}};
    struct facts facts = {0};
    struct record record = {.id = "1",
                            .environment = "default",
                            .outcome = &outcome,
                            .facts = &facts,
                            .report = &report,
                            .out = {.kept = SPAN("text\n")}};
    (void)state;
    denied = true;
    for (long n = 0; denied; n++) {
        auto_buffer struct buffer out = {0};
        denied = false;
        allowed = n;
        run_record(&record, &out);
        execute_body(&record, &out);
        problem_body(400, "a", "b", &out);
        allowed = -1;
        assert_int_equal(out.failed, denied);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
