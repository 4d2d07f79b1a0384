/* outcome.c: how a run ended, over every combination of facts that is looked at. Only the right one is a success. */
#include "support.h"

#include "json.h"
#include "limit.h"
#include "outcome.h"

#include <signal.h>
#include <sys/wait.h>

#define LOST "the server lost the run; it is safe to send it again"

enum { EXITED = 1 << 8 };

/* The one combination of facts that is a success. */
static bool is_success(const struct facts *facts, const struct verdict *verdict)
{
    return facts->cause == CAUSE_NONE && WIFEXITED(facts->wait_status) &&
           WEXITSTATUS(facts->wait_status) == EXIT_REPORTED && verdict->kind == VERDICT_RESULT;
}

static void assert_outcome(const struct facts *facts, const struct verdict *verdict, const struct limits *limits)
{
    static struct outcome outcome;
    outcome_decide(facts, verdict, limits, &outcome);
    bool fine = (unsigned)outcome.status < STATUS_COUNT &&
                (outcome.status == STATUS_OK) == is_success(facts, verdict) &&
                (outcome.status == STATUS_OK ? !*outcome.type && !*outcome.message && !*outcome.text
                                             : *outcome.type && *outcome.text);
    if (!fine)
        fail_msg("cause %u, wait status %x, verdict %d %d: status %d", facts->cause, (unsigned)facts->wait_status,
                 verdict->kind, verdict->failure, outcome.status);
}

/* Every wait status that fits sixteen bits, with every cause and every kind of verdict. */
static void test_outcome_wait_statuses(void **state)
{
    struct limits limits;
    (void)state;
    limits_default(&limits);
    for (uint32_t cause = 0; cause <= CAUSE_COUNT; cause++) {
        for (int32_t status = 0; status < 0x10000; status += cause ? 7 : 1) {
            for (int kind = VERDICT_NONE; kind <= VERDICT_FORGED; kind++) {
                struct facts facts = {.cause = cause, .wait_status = status};
                struct verdict verdict = {
                    .kind = (enum verdict_kind)kind, .failure = FAIL_RAISED, .type = SPAN("E"), .message = SPAN("m")};
                assert_outcome(&facts, &verdict, &limits);
            }
        }
    }
}

/* Every combination of all the facts that are looked at, each over its interesting values. */
static void test_outcome_facts(void **state)
{
    static const uint32_t causes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, UINT32_MAX};
    static const int32_t statuses[] = {0,        EXITED, 2 << 8,  3 << 8,  EXIT_NO_CHANNEL << 8,
                                       255 << 8, SIGHUP, SIGKILL, SIGSEGV, SIGSEGV | 0x80,
                                       SIGXCPU,  SIGSYS, SIGPIPE, SIGXFSZ, 64,
                                       0x7f,     0x137f, 0xffff,  -1,      0x10000};
    static const int32_t self_signals[] = {0, SIGKILL, SIGSEGV, SIGTERM, 64, -1};
    static const uint32_t counts[] = {0, 1, UINT32_MAX};
    static const uint64_t times[] = {0, 9999999, 10000000, UINT64_MAX};
    static const struct span texts[] = {SPAN(""), SPAN("Text\n\xff")};
    struct limits limits;
    (void)state;
    limits_default(&limits);
    for (size_t a = 0; a < COUNT(causes); a++)
        for (size_t b = 0; b < COUNT(statuses); b++)
            for (size_t c = 0; c < COUNT(self_signals); c++)
                for (size_t d = 0; d < COUNT(counts) * COUNT(counts); d++)
                    for (size_t e = 0; e < COUNT(times); e++)
                        for (int kind = VERDICT_NONE; kind <= VERDICT_FORGED; kind++) {
                            struct facts facts = {.cause = causes[a],
                                                  .wait_status = statuses[b],
                                                  .self_signal = self_signals[c],
                                                  .oom_kills = counts[d % COUNT(counts)],
                                                  .fork_denied = counts[d / COUNT(counts)],
                                                  .cpu_us = times[e]};
                            struct verdict verdict = {.kind = (enum verdict_kind)kind, .failure = FAIL_RAISED};
                            assert_outcome(&facts, &verdict, &limits);
                        }
    for (size_t b = 0; b < COUNT(statuses); b++)
        for (int failure = 0; failure <= FAIL_COUNT; failure++)
            for (size_t t = 0; t < COUNT(texts); t++)
                for (size_t d = 0; d < COUNT(counts); d++) {
                    struct facts facts = {.wait_status = statuses[b], .oom_kills = counts[d]};
                    struct verdict verdict = {.kind = VERDICT_FAILURE,
                                              .failure = (enum failure)failure,
                                              .type = texts[t],
                                              .message = texts[t],
                                              .line = counts[d]};
                    assert_outcome(&facts, &verdict, &limits);
                }
}

static void test_outcome_rows(void **state)
{
    static const struct {
        struct facts facts;
        enum verdict_kind kind;
        enum failure failure;
        enum status status;
        const char *text;
    } rows[] = {
        {{0}, VERDICT_RESULT, 0, STATUS_OK, ""},
        {{.oom_kills = 1}, VERDICT_RESULT, 0, STATUS_OK, ""}, /* a child of the script's was killed: it saw to that */
        {{0}, VERDICT_NONE, 0, STATUS_EXITED, "script exited with status 0 before main() returned"},
        {{.wait_status = 3 << 8}, VERDICT_NONE, 0, STATUS_EXITED, "script exited with status 3 before main() returned"},
        {{.wait_status = 3 << 8},
         VERDICT_RESULT,
         0,
         STATUS_EXITED,
         "script exited with status 3 before main() returned"},
        {{.wait_status = SIGSEGV}, VERDICT_RESULT, 0, STATUS_KILLED, "script was killed by signal SIGSEGV"},
        {{.wait_status = SIGSEGV | 0x80}, VERDICT_NONE, 0, STATUS_KILLED, "script was killed by signal SIGSEGV"},
        {{.wait_status = SIGKILL, .self_signal = SIGTERM},
         VERDICT_NONE,
         0,
         STATUS_KILLED,
         "script was killed by signal SIGTERM"},
        {{.wait_status = SIGKILL, .oom_kills = 1},
         VERDICT_NONE,
         0,
         STATUS_MEMORY_LIMIT,
         "memory limit exceeded: 256 MiB"},
        {{.wait_status = SIGXCPU}, VERDICT_NONE, 0, STATUS_CPU_LIMIT, "CPU time limit exceeded: 10 s"},
        {{.wait_status = SIGXCPU, .self_signal = SIGXCPU},
         VERDICT_NONE,
         0,
         STATUS_KILLED,
         "script was killed by signal SIGXCPU"},
        {{.wait_status = SIGKILL, .cpu_us = 10000000},
         VERDICT_NONE,
         0,
         STATUS_CPU_LIMIT,
         "CPU time limit exceeded: 10 s"},
        {{.cause = CAUSE_WALL, .wait_status = SIGKILL},
         VERDICT_RESULT,
         0,
         STATUS_TIME_LIMIT,
         "time limit exceeded: 10 s"},
        {{.cause = CAUSE_WALL}, VERDICT_RESULT, 0, STATUS_TIME_LIMIT, "time limit exceeded: 10 s"},
        {{.cause = CAUSE_CPU, .wait_status = SIGKILL},
         VERDICT_NONE,
         0,
         STATUS_CPU_LIMIT,
         "CPU time limit exceeded: 10 s"},
        {{.cause = CAUSE_DISK, .wait_status = SIGKILL},
         VERDICT_NONE,
         0,
         STATUS_DISK_LIMIT,
         "disk limit exceeded: 64 MiB"},
        {{.cause = CAUSE_PROCESSES, .wait_status = SIGKILL},
         VERDICT_NONE,
         0,
         STATUS_PROCESS_LIMIT,
         "process limit exceeded: 64"},
        {{.cause = CAUSE_OUTPUT, .wait_status = SIGKILL},
         VERDICT_NONE,
         0,
         STATUS_OUTPUT_LIMIT,
         "output limit exceeded: 1 MiB"},
        {{.cause = CAUSE_RESULT, .wait_status = SIGKILL},
         VERDICT_NONE,
         0,
         STATUS_OUTPUT_LIMIT,
         "result limit exceeded: 8 MiB"},
        {{.cause = CAUSE_CANCELLED, .wait_status = SIGKILL},
         VERDICT_NONE,
         0,
         STATUS_CANCELLED,
         "the run was cancelled"},
        {{.cause = CAUSE_LOST, .wait_status = SIGKILL}, VERDICT_NONE, 0, STATUS_LOST, LOST},
        {{.wait_status = EXITED},
         VERDICT_FAILURE,
         FAIL_NO_MAIN,
         STATUS_CONTRACT_ERROR,
         "Script must define a function named main()"},
        {{.wait_status = EXITED},
         VERDICT_FAILURE,
         FAIL_NO_VALUE,
         STATUS_CONTRACT_ERROR,
         "main() did not return a value"},
        {{.wait_status = EXITED},
         VERDICT_FAILURE,
         FAIL_NOT_OBJECT,
         STATUS_CONTRACT_ERROR,
         "main() must return a JSON object (e.g., a Python dict)"},
        {{.wait_status = EXITED}, VERDICT_FAILURE, FAIL_NOT_JSON, STATUS_CONTRACT_ERROR, "its words"},
        {{.wait_status = EXITED},
         VERDICT_FAILURE,
         FAIL_SYNTAX,
         STATUS_SCRIPT_ERROR,
         "E: its words (script.py, line 4)"},
        {{.wait_status = EXITED},
         VERDICT_FAILURE,
         FAIL_RAISED,
         STATUS_SCRIPT_ERROR,
         "E: its words (script.py, line 4)"},
        {{.wait_status = EXITED}, VERDICT_FAILURE, FAIL_MEMORY, STATUS_MEMORY_LIMIT, "memory limit exceeded: 256 MiB"},
        {{.wait_status = EXITED}, VERDICT_FAILURE, FAIL_DISK, STATUS_DISK_LIMIT, "disk limit exceeded: 64 MiB"},
        {{.wait_status = EXITED}, VERDICT_FAILURE, FAIL_PROCESSES, STATUS_PROCESS_LIMIT, "process limit exceeded: 64"},
        {{.wait_status = EXITED},
         VERDICT_FAILURE,
         FAIL_TOO_MANY,
         STATUS_OUTPUT_LIMIT,
         "return_files limit exceeded: 100 files"},
        {{.wait_status = EXITED}, VERDICT_FAILURE, FAIL_FILES, STATUS_SCRIPT_ERROR, "its words"},
        {{.wait_status = EXITED, .disk_short = 1}, VERDICT_FAILURE, FAIL_FILES, STATUS_LOST, LOST},
        {{.wait_status = EXITED, .disk_short = 1}, VERDICT_FAILURE, FAIL_DISK, STATUS_LOST, LOST},
        {{.wait_status = EXITED, .disk_short = 1},
         VERDICT_FAILURE,
         FAIL_RAISED,
         STATUS_SCRIPT_ERROR,
         "E: its words (script.py, line 4)"},
        {{.wait_status = EXITED, .cause = CAUSE_DISK, .disk_short = 1},
         VERDICT_NONE,
         FAIL_RAISED,
         STATUS_DISK_LIMIT,
         "disk limit exceeded: 64 MiB"},
    };
    struct limits limits;
    (void)state;
    limits_default(&limits);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct verdict verdict = {.kind = rows[i].kind,
                                  .failure = rows[i].failure,
                                  .type = SPAN("E"),
                                  .message = SPAN("its words"),
                                  .line = 4};
        struct outcome outcome;
        outcome_decide(&rows[i].facts, &verdict, &limits, &outcome);
        assert_string_equal(outcome.text, rows[i].text);
        assert_int_equal(outcome.status, rows[i].status);
    }
}

/* A verdict's strings may be anything: the outcome's are one line of valid UTF-8 that ends within its room. */
static void test_outcome_hostile(void **state)
{
    uint64_t seed = 5;
    auto_free uint8_t *bytes = malloc(20000);
    struct limits limits;
    (void)state;
    assert_non_null(bytes);
    limits_default(&limits);
    for (int round = 0; round < 600; round++) {
        static struct outcome outcome;
        size_t length = random_next(&seed) % (round % 2 ? 20000 : 300);
        for (size_t i = 0; i < length; i++)
            bytes[i] = round % 3 ? (uint8_t)random_next(&seed) : (uint8_t) "a€😀\n"[random_next(&seed) % 9];
        struct span some = {bytes, length};
        struct facts facts = {.wait_status = EXITED};
        struct verdict verdict = {.kind = VERDICT_FAILURE,
                                  .failure = (enum failure)(1 + round % (FAIL_COUNT - 1)),
                                  .type = some,
                                  .message = some,
                                  .traceback = some,
                                  .line = UINT32_MAX};
        outcome_decide(&facts, &verdict, &limits, &outcome);
        const char *const texts[] = {outcome.type, outcome.message, outcome.text};
        const size_t rooms[] = {sizeof outcome.type, sizeof outcome.message, sizeof outcome.text};
        for (size_t i = 0; i < COUNT(texts); i++) {
            size_t used = strnlen(texts[i], rooms[i]);
            assert_true(used < rooms[i]);
            assert_int_equal(utf8_prefix((struct span){(const uint8_t *)texts[i], used}), used);
            for (size_t n = 0; n < used; n++)
                assert_true((uint8_t)texts[i][n] >= 0x20 && texts[i][n] != 0x7f);
        }
    }
}

static void test_signal_names(void **state)
{
    char text[16];
    (void)state;
    assert_string_equal(signal_name(SIGSEGV, text), "SIGSEGV");
    assert_string_equal(signal_name(SIGKILL, text), "SIGKILL");
    assert_string_equal(signal_name(42, text), "signal 42");
    assert_string_equal(signal_name(-2147483647, text), "signal -2147483"); /* cut, but ended */
}

static void test_one_line(void **state)
{
    static const struct {
        struct span from;
        size_t size;
        const char *text;
    } rows[] = {
        {SPAN(""), 8, ""},
        {SPAN("abc"), 8, "abc"},
        {SPAN("a\nb\tc\x7f\0d"), 16, "a b c  d"},
        {SPAN("\xc2\x85\xc2\xa0"), 8, " \xc2\xa0"},
        {SPAN("\xff"), 8, "\xef\xbf\xbd"},
        {SPAN("€€"), 7, "€€"},
        {SPAN("€€"), 6, "…"},
        {SPAN("abcdefg"), 8, "abcdefg"},
        {SPAN("abcdefgh"), 8, "abcd…"},
        {SPAN("abc€€"), 8, "abc…"},
        {SPAN("\xff\xff\xff"), 8, "\xef\xbf\xbd…"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        auto_free char *text = malloc(rows[i].size);
        assert_int_equal(text_one_line(text, rows[i].size, rows[i].from), strlen(rows[i].text));
        assert_string_equal(text, rows[i].text);
    }
}

static void test_status_table(void **state)
{
    (void)state;
    for (int i = 0; i < STATUS_COUNT; i++) {
        assert_true(status_table[i].name && status_table[i].help);
        assert_int_equal(status_table[i].execute_http == 200, i == STATUS_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcome_wait_statuses), cmocka_unit_test(test_outcome_facts),
        cmocka_unit_test(test_outcome_rows),          cmocka_unit_test(test_outcome_hostile),
        cmocka_unit_test(test_signal_names),          cmocka_unit_test(test_one_line),
        cmocka_unit_test(test_status_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
