/* record.c: the contract's bodies, byte for byte, and that hostile bytes never break them. */
#include "support.h"

#include "json.h"
#include "record.h"

/* A run with everything that a record borrows; each test changes what it is about. */
struct run {
    struct facts facts;
    struct report report;
    struct limits limits;
    struct outcome outcome;
    struct record record;
};

static void run_init(struct run *run)
{
    memset(run, 0, sizeof *run);
    limits_default(&run->limits);
    run->record = (struct record){
        .id = "r1", .environment = "default", .outcome = &run->outcome, .facts = &run->facts, .report = &run->report};
}

static void run_result(struct run *run, const char *result, struct span out)
{
    run_init(run);
    run->report.verdict.kind = VERDICT_RESULT;
    run->report.result = string_span(result);
    run->record.out = (struct record_stream){.kept = out, .total = out.length};
}

static void run_failure(struct run *run, enum failure failure, const char *type, const char *message, uint32_t line)
{
    run_init(run);
    run->facts.wait_status = EXIT_FAILED << 8;
    run->report.verdict = (struct verdict){.kind = VERDICT_FAILURE,
                                           .failure = failure,
                                           .type = string_span(type),
                                           .message = string_span(message),
                                           .line = line};
}

static void assert_execute(struct run *run, unsigned http, const char *body)
{
    auto_buffer struct buffer out = {0};
    outcome_decide(&run->facts, &run->report.verdict, &run->limits, &run->outcome);
    assert_int_equal(execute_body(&run->record, &out), http);
    assert_buffer(&out, body);
}

static void test_execute_results(void **state)
{
    static const struct {
        const char *result;
        struct span out;
        bool truncated;
        const char *body;
    } rows[] = {
        {"{\"message\":\"done\"}", SPAN("hello world\n"), false,
         "{\"result\":{\"message\":\"done\"},\"stdout\":\"hello world\"}"},
        {"{\"message\":\"hello\"}", SPAN(""), false, "{\"result\":{\"message\":\"hello\"},\"stdout\":\"\"}"},
        {"{}", SPAN("\n\n\n"), false, "{\"result\":{},\"stdout\":\"\"}"},
        {"{}", SPAN("\n a\r\n\n"), false, "{\"result\":{},\"stdout\":\"\\n a\\r\"}"},
        {"{}", SPAN("a \n "), false, "{\"result\":{},\"stdout\":\"a \\n \"}"},
        {"{\"a\":1606938044258990275541962092341162602522202993782792835301376,\"b\":0.1,\"c\":1e+308,\"d\":-0.0}",
         SPAN(""), false,
         "{\"result\":{\"a\":1606938044258990275541962092341162602522202993782792835301376,\"b\":0.1,\"c\":1e+308,"
         "\"d\":-"
         "0.0},\"stdout\":\"\"}"},
        {"{\"s\":\"\\ud800\\u0000\"}", SPAN("\0\x1b[1m\"\\"), false,
         "{\"result\":{\"s\":\"\\ud800\\u0000\"},\"stdout\":\"\\u0000\\u001b[1m\\\"\\\\\"}"},
        {"{}", SPAN("a\xff\xfe"), false, "{\"result\":{},\"stdout\":\"a\xef\xbf\xbd\xef\xbf\xbd\"}"},
        {"{}", SPAN("a\xe2\x82"), false, "{\"result\":{},\"stdout\":\"a\xef\xbf\xbd\"}"},
        {"{}", SPAN("a\xe2\x82"), true, "{\"result\":{},\"stdout\":\"a\",\"stdout_truncated\":true}"},
        {"{}", SPAN("aaaa"), true, "{\"result\":{},\"stdout\":\"aaaa\",\"stdout_truncated\":true}"},
        {"{}", SPAN("aaa\n"), true, "{\"result\":{},\"stdout\":\"aaa\",\"stdout_truncated\":true}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct run run;
        run_result(&run, rows[i].result, rows[i].out);
        run.record.out.truncated = rows[i].truncated;
        assert_execute(&run, 200, rows[i].body);
    }
    struct run run;
    run_result(&run, "{}", (struct span){0});
    assert_execute(&run, 200, "{\"result\":{},\"stdout\":\"\"}");
}

static void test_execute_failures(void **state)
{
    static const struct {
        enum failure failure;
        const char *type, *message;
        uint32_t line;
        const char *body;
    } rows[] = {
        {FAIL_NO_VALUE, "", "", 0, "{\"error\":\"main() did not return a value\"}"},
        {FAIL_NO_MAIN, "", "", 0, "{\"error\":\"Script must define a function named main()\"}"},
        {FAIL_NOT_OBJECT, "", "", 0, "{\"error\":\"main() must return a JSON object (e.g., a Python dict)\"}"},
        {FAIL_SYNTAX, "SyntaxError", "invalid syntax", 3,
         "{\"error\":\"SyntaxError: invalid syntax (script.py, line 3)\"}"},
        {FAIL_RAISED, "ZeroDivisionError", "division by zero", 2,
         "{\"error\":\"ZeroDivisionError: division by zero (script.py, line 2)\"}"},
        {FAIL_RAISED, "E", "a\n\"b\"\\\xff", 0, "{\"error\":\"E: a \\\"b\\\"\\\\\xef\xbf\xbd\"}"},
        {FAIL_RAISED, "E", "", 1, "{\"error\":\"E (script.py, line 1)\"}"},
        {FAIL_NOT_JSON, "", "result[\"a\"] is a set", 0, "{\"error\":\"result[\\\"a\\\"] is a set\"}"},
        {FAIL_MEMORY, "MemoryError", "", 1, "{\"error\":\"memory limit exceeded: 256 MiB\"}"},
        {FAIL_PROCESSES, "RuntimeError", "can't start new thread", 1, "{\"error\":\"process limit exceeded: 64\"}"},
        {FAIL_DISK, "OSError", "", 1, "{\"error\":\"disk limit exceeded: 64 MiB\"}"},
        {FAIL_TOO_BIG, "", "", 0, "{\"error\":\"result limit exceeded: 8 MiB\"}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct run run;
        run_failure(&run, rows[i].failure, rows[i].type, rows[i].message, rows[i].line);
        run.record.out.kept = SPAN("printed");
        assert_execute(&run, 400, rows[i].body);
    }
}

static void test_execute_endings(void **state)
{
    static const struct {
        enum cause cause;
        int wait_status;
        unsigned http;
        const char *body;
    } rows[] = {
        {CAUSE_WALL, 9, 400, "{\"error\":\"time limit exceeded: 10 s\"}"},
        {CAUSE_CPU, 9, 400, "{\"error\":\"CPU time limit exceeded: 10 s\"}"},
        {CAUSE_OUTPUT, 9, 400, "{\"error\":\"output limit exceeded: 1 MiB\"}"},
        {CAUSE_RESULT, 9, 400, "{\"error\":\"result limit exceeded: 8 MiB\"}"},
        {CAUSE_CANCELLED, 9, 400, "{\"error\":\"the run was cancelled\"}"},
        {CAUSE_LOST, 9, 500, "{\"error\":\"the server lost the run; it is safe to send it again\"}"},
        {CAUSE_NONE, 11, 400, "{\"error\":\"script was killed by signal SIGSEGV\"}"},
        {CAUSE_NONE, 3 << 8, 400, "{\"error\":\"script exited with status 3 before main() returned\"}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct run run;
        /* Even with a result in the channel. */
        run_result(&run, "{\"forged\":true}", SPAN("x"));
        run.facts.cause = rows[i].cause;
        run.facts.wait_status = rows[i].wait_status;
        assert_execute(&run, rows[i].http, rows[i].body);
    }
}

static void assert_record(struct run *run, const char *body)
{
    auto_buffer struct buffer out = {0};
    struct json_value value;
    struct json_error error;
    outcome_decide(&run->facts, &run->report.verdict, &run->limits, &run->outcome);
    run_record(&run->record, &out);
    assert_buffer(&out, body);
    assert_int_equal(json_check(buffer_span(&out), &value, &error), 0);
}

static void test_record_ok(void **state)
{
    struct run run;
    const struct record_denial denied[] = {{"socket(AF_INET)", 2, "the network is off in this jail"},
                                           {"ptrace", 1, ""}};
    (void)state;
    run_result(&run, "{\"a\":1}", SPAN("out\n"));
    run.report.file_count = 2;
    run.report.files[0] = (struct report_file){SPAN("plot.png"), SPAN("foob")};
    run.report.files[1] = (struct report_file){SPAN("a\n\"b\""), SPAN("")};
    run.record.err = (struct record_stream){SPAN("err\xff"), true, 900};
    run.record.out.total = 4;
    run.record.layers = (const char *const[]){"cgroup", "namespaces"};
    run.record.layer_count = 2;
    run.record.denied = denied;
    run.record.denied_count = COUNT(denied);
    run.facts.queued_us = 1999;
    run.facts.wall_us = 12345678;
    run.facts.cpu_us = 999;
    run.facts.memory_peak_bytes = 1 << 20;
    run.facts.processes_peak = 3;
    assert_record(
        &run,
        "{\"id\":\"r1\",\"status\":\"ok\",\"result\":{\"a\":1},\"stdout\":\"out\\n\",\"stderr\":\"err\xef\xbf\xbd\","
        "\"stdout_truncated\":false,\"stderr_truncated\":true,\"error\":null,"
        "\"files\":[{\"path\":\"plot.png\",\"size\":4,\"content\":\"Zm9vYg==\"},"
        "{\"path\":\"a\\n\\\"b\\\"\",\"size\":0,\"content\":\"\"}],"
        "\"denied\":[{\"what\":\"socket(AF_INET)\",\"count\":2,\"hint\":\"the network is off in this jail\"},"
        "{\"what\":\"ptrace\",\"count\":1,\"hint\":\"\"}],"
        "\"usage\":{\"queued_ms\":1,\"wall_ms\":12345,\"cpu_ms\":0,\"memory_peak_bytes\":1048576,"
        "\"processes_peak\":3,\"stdout_bytes\":4},\"jail\":{\"layers\":[\"cgroup\",\"namespaces\"]},"
        "\"environment\":\"default\"}");
}

static void test_record_failure(void **state)
{
    struct run run;
    (void)state;
    run_failure(&run, FAIL_RAISED, "ValueError", "bad\nnews", 7);
    run.report.verdict.traceback = SPAN("Traceback:\n  \xff\n");
    run.report.file_count = 1;
    run.report.files[0] = (struct report_file){SPAN("a"), SPAN("f")};
    assert_record(&run,
                  "{\"id\":\"r1\",\"status\":\"script_error\",\"result\":null,\"stdout\":\"\",\"stderr\":\"\","
                  "\"stdout_truncated\":false,\"stderr_truncated\":false,"
                  "\"error\":{\"type\":\"ValueError\",\"message\":\"bad news\",\"line\":7,"
                  "\"traceback\":\"Traceback:\\n  \xef\xbf\xbd\\n\"},"
                  "\"files\":[{\"path\":\"a\",\"size\":1,\"content\":\"Zg==\"}],\"denied\":[],"
                  "\"usage\":{\"queued_ms\":0,\"wall_ms\":0,\"cpu_ms\":0,\"memory_peak_bytes\":null,"
                  "\"processes_peak\":null,\"stdout_bytes\":0},\"jail\":{\"layers\":[]},\"environment\":\"default\"}");
}

/* What a killed run had reported shows nowhere. */
static void test_record_killed(void **state)
{
    struct run run;
    (void)state;
    run_result(&run, "{\"forged\":true}", SPAN("kept\n"));
    run.report.verdict.traceback = SPAN("forged");
    run.report.file_count = 1;
    run.report.files[0] = (struct report_file){SPAN("a"), SPAN("f")};
    run.facts.cause = CAUSE_WALL;
    run.facts.wait_status = 9;
    assert_record(&run,
                  "{\"id\":\"r1\",\"status\":\"time_limit\",\"result\":null,\"stdout\":\"kept\\n\",\"stderr\":\"\","
                  "\"stdout_truncated\":false,\"stderr_truncated\":false,"
                  "\"error\":{\"type\":\"time_limit\",\"message\":\"time limit exceeded: 10 s\",\"line\":null,"
                  "\"traceback\":null},\"files\":[],\"denied\":[],"
                  "\"usage\":{\"queued_ms\":0,\"wall_ms\":0,\"cpu_ms\":0,\"memory_peak_bytes\":null,"
                  "\"processes_peak\":null,\"stdout_bytes\":5},\"jail\":{\"layers\":[]},\"environment\":\"default\"}");
}

static void test_errors(void **state)
{
    auto_buffer struct buffer error = {0}, problem = {0}, large = {0}, body = {0};
    (void)state;
    error_body("a\r\nb\x01 \"c\" \xff", &error);
    assert_buffer(&error, "{\"error\":\"a  b  \\\"c\\\" \xef\xbf\xbd\"}");
    problem_body(429, "Too Many Requests", "the queue is full\n", &problem);
    assert_buffer(&problem,
                  "{\"type\":\"about:blank\",\"title\":\"Too Many Requests\",\"status\":429,\"detail\":\"the queue "
                  "is full\\n\"}");
    repeat(&large, "€", 10000);
    buffer_append(&large, "", 1);
    error_body((const char *)large.bytes, &body);
    assert_true(body.length < 5000);
    assert_memory_equal(body.bytes + body.length - 8, "€…\"}", 8);
}

/* Random bytes in every place that a script or a stranger fills: the bodies stay JSON. */
static void test_hostile(void **state)
{
    uint64_t seed = 99;
    (void)state;
    for (int round = 0; round < 5000; round++) {
        uint8_t bytes[64];
        struct run run;
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)random_next(&seed);
        struct span some = {bytes, random_next(&seed) % sizeof bytes};
        run_failure(&run, (enum failure)(1 + random_next(&seed) % (FAIL_COUNT - 1)), "", "",
                    (uint32_t)random_next(&seed));
        run.facts.cause = (uint32_t)(random_next(&seed) % 3 ? 0 : random_next(&seed) % CAUSE_COUNT);
        run.report.verdict.type = run.report.verdict.message = run.report.verdict.traceback = some;
        run.record.out = run.record.err = (struct record_stream){some, round & 1, some.length};
        outcome_decide(&run.facts, &run.report.verdict, &run.limits, &run.outcome);
        auto_buffer struct buffer execute = {0}, record = {0};
        struct json_value value;
        struct json_error error;
        assert_int_not_equal(execute_body(&run.record, &execute), 200);
        run_record(&run.record, &record);
        assert_int_equal(json_check(buffer_span(&execute), &value, &error), 0);
        assert_int_equal(json_check(buffer_span(&record), &value, &error), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_execute_results), cmocka_unit_test(test_execute_failures),
        cmocka_unit_test(test_execute_endings), cmocka_unit_test(test_record_ok),
        cmocka_unit_test(test_record_failure),  cmocka_unit_test(test_record_killed),
        cmocka_unit_test(test_errors),          cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
