/* src/lib: the limits' words, frames, faults and logs. */
#include "support.h"

#include "fault.h"
#include "json.h"
#include "limit.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* --- limits ------------------------------------------------------------------------------------------------------ */

static void test_limits_table(void **state)
{
    struct limits limits;
    (void)state;
    limits_default(&limits);
    for (int i = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *row = &limit_table[i];
        assert_true(row->name && row->exceeded && row->help);
        assert_true(row->least >= 1 && row->least <= row->initial && row->initial <= row->most);
        assert_true(limits.value[i] == row->initial);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(row->name, limit_table[j].name);
    }
}

static void test_limit_text(void **state)
{
    static const struct {
        enum limit limit;
        uint64_t value;
        const char *text;
    } rows[] = {
        {LIMIT_WALL, 10000, "10 s"},
        {LIMIT_WALL, 1500, "1.5 s"},
        {LIMIT_WALL, 1, "0.001 s"},
        {LIMIT_WALL, 50, "0.05 s"},
        {LIMIT_WALL, 1010, "1.01 s"},
        {LIMIT_CPU, 86400000, "86400 s"},
        {LIMIT_MEMORY, UINT64_C(256) << 20, "256 MiB"},
        {LIMIT_MEMORY, UINT64_C(3) << 30, "3 GiB"},
        {LIMIT_MEMORY, (UINT64_C(256) << 20) + 1024, "262145 KiB"},
        {LIMIT_OUTPUT, 102400, "100 KiB"},
        {LIMIT_OUTPUT, 1000, "1000 bytes"},
        {LIMIT_OUTPUT, 1025, "1025 bytes"},
        {LIMIT_PROCESSES, 64, "64"},
        {LIMIT_PROCESSES, 1024, "1024"},
        {LIMIT_MEMORY, UINT64_MAX, "18446744073709551615 bytes"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[40];
        assert_string_equal(limit_text(rows[i].limit, rows[i].value, text, sizeof text), rows[i].text);
    }
    struct limits limits;
    char text[96];
    limits_default(&limits);
    assert_string_equal(limit_exceeded(LIMIT_WALL, &limits, text, sizeof text), "time limit exceeded: 10 s");
    assert_string_equal(limit_exceeded(LIMIT_MEMORY, &limits, text, sizeof text), "memory limit exceeded: 256 MiB");
    assert_string_equal(limit_exceeded(LIMIT_PROCESSES, &limits, text, sizeof text), "process limit exceeded: 64");
    assert_string_equal(limit_exceeded(LIMIT_OUTPUT, &limits, text, sizeof text), "output limit exceeded: 1 MiB");
}

/* --- frames ------------------------------------------------------------------------------------------------------ */

static void test_frames(void **state)
{
    auto_buffer struct buffer out = {0};
    struct frame frame;
    uint32_t number = 77, read = 0;
    (void)state;
    buffer_append_frame(&out, FRAME_SCRIPT, "abc", 3);
    buffer_append_frame(&out, FRAME_LINE, &number, sizeof number);
    buffer_append_frame(&out, FRAME_END, NULL, 0);
    assert_int_equal(out.length, 8 + 3 + 8 + 4 + 8);
    struct span rest = buffer_span(&out);
    assert_int_equal(frame_next(&rest, &frame), 1);
    assert_true(frame.tag == FRAME_SCRIPT && frame.data.length == 3 && memcmp(frame.data.bytes, "abc", 3) == 0);
    assert_false(frame_u32(&frame, &read));
    assert_int_equal(frame_next(&rest, &frame), 1);
    assert_true(frame.tag == FRAME_LINE && frame_u32(&frame, &read) && read == 77);
    assert_int_equal(frame_next(&rest, &frame), 1);
    assert_true(frame.tag == FRAME_END && frame.data.length == 0);
    assert_int_equal(frame_next(&rest, &frame), 0);

    /* Each beginning yields the frames that are whole, then the end or a fault, and is not read past. */
    for (size_t length = 0; length < out.length; length++) {
        auto_free uint8_t *copy = exact_copy((struct span){out.bytes, length});
        rest = (struct span){copy, length};
        int last, whole = 0;
        while ((last = frame_next(&rest, &frame)) == 1)
            whole++;
        assert_int_equal(whole, (length >= 11) + (length >= 23));
        assert_int_equal(last, length == 0 || length == 11 || length == 23 ? 0 : -1);
    }
}

static void test_buffer(void **state)
{
    auto_buffer struct buffer out = {0};
    (void)state;
    for (size_t i = 0; i < 100000; i++)
        buffer_append(&out, &(uint8_t){(uint8_t)i}, 1);
    assert_int_equal(out.length, 100000);
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal(out.bytes[i], (uint8_t)i);
    buffer_append(&out, "", SIZE_MAX / 2 + 1); /* more than there can be: nothing is read or written */
    assert_true(out.failed);
    assert_int_equal(out.length, 100000);
    buffer_append(&out, "x", 1);
    assert_int_equal(out.length, 100000);
    buffer_free(&out);
    assert_true(!out.bytes && !out.length && !out.failed);
    buffer_append_frame(&out, FRAME_SCRIPT, "", (size_t)UINT32_MAX + 1);
    assert_true(out.failed);
}

/* --- faults and logs --------------------------------------------------------------------------------------------- */

static void test_faults(void **state)
{
    struct fault fault;
    char text[768], small[16];
    (void)state;
    assert_int_equal(fault_set(&fault, "root", "mount", EINVAL, "%s/%d", "/proc", 7), -1);
    assert_null(fault_hint(&fault));
    assert_string_equal(fault_text(&fault, text, sizeof text), "root: mount(/proc/7): Invalid argument");
    fault_set(&fault, "front", "read", 0, "socket");
    assert_string_equal(fault_text(&fault, text, sizeof text), "front: read(socket)");
    fault_set(&fault, "namespaces", "clone3", EPERM, "new user namespace");
    assert_non_null(fault_hint(&fault));
    fault_text(&fault, text, sizeof text);
    assert_int_equal(strncmp(text, "namespaces: clone3(new user namespace): Operation not permitted (", 65), 0);
    assert_int_equal(text[strlen(text) - 1], ')');
    fault_set(&fault, "any", "open", EMFILE, "%s", "x");
    assert_non_null(fault_hint(&fault));
    fault_set(&fault, "a layer's very long name", "an operation's very long name indeed", ENOENT, "%0200d", 1);
    fault_text(&fault, small, sizeof small);
    assert_true(strlen(small) < sizeof small);
    /* As a hostile or damaged peer might send it: not terminated. */
    memset(&fault, 'x', sizeof fault);
    assert_true(strlen(fault_text(&fault, text, sizeof text)) < sizeof text);
}

/* One line of valid JSON whatever a field holds. */
static void assert_logged(const char *value)
{
    int pipes[2], saved = dup(STDERR_FILENO);
    uint8_t line[8192];
    struct json_value object;
    struct json_error error;
    assert_int_equal(pipe(pipes), 0);
    dup2(pipes[1], STDERR_FILENO);
    log_event(LOG_INFO, "event", log_text("value", value), log_number("number", INT64_MIN), log_text("again", value));
    log_event(LOG_DEBUG, "below the level");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipes[1]);
    ssize_t length = read(pipes[0], line, sizeof line);
    close(pipes[0]);
    assert_true(length > 1);
    assert_int_equal(line[length - 1], '\n');
    assert_null(memchr(line, '\n', (size_t)length - 1));
    if (json_check((struct span){line, (size_t)length - 1}, &object, &error) < 0)
        fail_msg("%s at %zu: %.*s", error.reason, error.offset, (int)length, line);
}

static void test_log(void **state)
{
    auto_buffer struct buffer value = {0};
    (void)state;
    log_open("test", LOG_INFO, LOG_JSON);
    assert_logged("");
    assert_logged("plain");
    assert_logged("a\"b\\c\n\r\t\x01\x7f");
    for (size_t length = 1700; length < 2300; length++) {
        static const char *const pieces[] = {"x", "\"", "\n"};
        for (size_t i = 0; i < COUNT(pieces); i++) {
            value.length = 0;
            repeat(&value, pieces[i], length);
            buffer_append(&value, "", 1);
            assert_logged((const char *)value.bytes);
        }
    }
}

/* Standard error becomes a pipe whose reading end is given; error_back() undoes it. */
static int error_to_pipe(int *saved)
{
    int pipes[2];
    *saved = dup(STDERR_FILENO);
    assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
    assert_true(fcntl(pipes[1], F_SETPIPE_SZ, 4096) > 0);
    dup2(pipes[1], STDERR_FILENO);
    close(pipes[1]);
    return pipes[0];
}

static void error_back(int saved)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static void test_log_for_people(void **state)
{
    int saved, from = error_to_pipe(&saved);
    char line[4096];
    (void)state;
    log_open("front", LOG_INFO, LOG_TEXT);
    log_event(LOG_WARNING, "an event", log_text("word", "run_1.b"), log_text("words", "two \"x\"\n"),
              log_text("none", ""), log_number("number", -7));
    error_back(saved);
    ssize_t length = read(from, line, sizeof line - 1);
    close(from);
    assert_true(length > 25);
    line[length] = 0;
    assert_string_equal(line + 24,
                        " warning front: an event word=run_1.b words=\"two \\\"x\\\"\\u000a\" none=\"\" number=-7\n");
}

/* A reader that does not read: lines are lost, and the first that finds room again is told after their number. */
static void test_log_lost(void **state)
{
    int saved, from = error_to_pipe(&saved);
    uint64_t before = log_lost();
    char text[8192], wanted[64];
    unsigned written = 0, lost = 0;
    (void)state;
    log_open("test", LOG_INFO, LOG_TEXT);
    while (log_lost() < before + 3) {
        log_event(LOG_INFO, "filling", log_number("line", written + lost));
        lost = (unsigned)(log_lost() - before);
        written += lost == 0;
    }
    assert_true(written > 10);
    assert_int_equal(log_lost(), before + 3);
    assert_true(read(from, text, sizeof text) > 0);
    log_event(LOG_INFO, "room again");
    log_event(LOG_INFO, "and again");
    error_back(saved);
    ssize_t length = read(from, text, sizeof text - 1);
    close(from);
    assert_true(length > 0);
    text[length] = 0;
    snprintf(wanted, sizeof wanted, " warning test: log lines were lost lines=3\n");
    assert_int_equal(strncmp(text + 24, wanted, strlen(wanted)), 0);
    assert_non_null(strstr(text, " test: room again\n"));
    assert_non_null(strstr(text, " test: and again\n"));
    assert_null(strstr(strstr(text, "lost") + 4, "lost"));
    assert_int_equal(log_lost(), before + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_table),   cmocka_unit_test(test_limit_text), cmocka_unit_test(test_frames),
        cmocka_unit_test(test_buffer),         cmocka_unit_test(test_faults),     cmocka_unit_test(test_log),
        cmocka_unit_test(test_log_for_people), cmocka_unit_test(test_log_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
