/* src/lib: the limits' words, how a run ended (exhaustively), frames, the wire's table, faults and logs. */
#include "support.h"

#include "fault.h"
#include "json.h"
#include "limit.h"
#include "log.h"
#include "outcome.h"
#include "wire.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
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

/* --- outcome ----------------------------------------------------------------------------------------------------- */

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
    static const uint32_t causes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, UINT32_MAX};
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
        {{.cause = CAUSE_LOST, .wait_status = SIGKILL},
         VERDICT_NONE,
         0,
         STATUS_LOST,
         "the server lost the run; it is safe to send it again"},
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
        {{.wait_status = EXITED}, VERDICT_FAILURE, FAIL_FILES, STATUS_SCRIPT_ERROR, "its words"},
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

/* --- wire -------------------------------------------------------------------------------------------------------- */

/* The protocol as wire.h describes it, written down a second time. */
static const struct {
    enum wire_type type;
    enum wire_link link;
    bool from_supervisor;
    size_t size;
    int least_fds, most_fds;
} messages[] = {
    {WIRE_SETUP, LINK_FRONT, true, sizeof(struct wire_setup), 2, WIRE_FDS},
    {WIRE_STATE, LINK_FRONT, true, sizeof(struct wire_state), 0, 0},
    {WIRE_RUN, LINK_FRONT, false, sizeof(struct wire_run), 1, 2},
    {WIRE_CANCEL, LINK_FRONT, false, sizeof(struct wire_cancel), 0, 0},
    {WIRE_STARTED, LINK_FRONT, true, sizeof(struct wire_started), 3, 3},
    {WIRE_OUTCOME, LINK_FRONT, true, sizeof(struct wire_outcome), 0, 0},
    {WIRE_REFUSED, LINK_FRONT, true, sizeof(struct wire_refused), 0, 0},
    {WIRE_READY, LINK_ZYGOTE, false, sizeof(struct wire_ready), 0, 0},
    {WIRE_SPAWN, LINK_ZYGOTE, true, sizeof(struct wire_spawn), 4, 5},
    {WIRE_SPAWNED, LINK_ZYGOTE, false, sizeof(struct wire_spawned), 1, 1},
    {WIRE_SPAWN_FAILED, LINK_ZYGOTE, false, sizeof(struct wire_spawn_failed), 0, 0},
    {WIRE_ENTER, LINK_RUN, true, sizeof(struct wire_empty), 0, 0},
    {WIRE_JAILED, LINK_RUN, false, sizeof(struct wire_jailed), 0, 1},
    {WIRE_JAIL_FAILED, LINK_RUN, false, sizeof(struct wire_spawn_failed), 0, 0},
    {WIRE_START, LINK_RUN, true, sizeof(struct wire_start), 1, 2},
};

#define WIRE_MAGIC UINT32_C(0x53530000)

static void make_pair(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
}

static void close_pair(int pair[2])
{
    drop_fd(&pair[0]);
    drop_fd(&pair[1]);
}

/* The lowest free descriptor: the same before and after when none has leaked. */
static int lowest_free(void)
{
    int fd = dup(STDERR_FILENO);
    close(fd);
    return fd;
}

/* A message that need not obey the table. */
static void send_raw(int socket, uint32_t word, uint32_t said, size_t size, int fds)
{
    uint8_t body[WIRE_BYTES + 64] = {0};
    uint32_t header[2] = {word, said};
    struct iovec parts[2] = {{header, sizeof header}, {body, size}};
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 64)];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    assert_true(size <= sizeof body && fds <= 64);
    if (fds) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fds);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fds);
        for (int i = 0; i < fds; i++)
            memcpy(CMSG_DATA(cmsg) + (size_t)i * sizeof(int), &(int){STDERR_FILENO}, sizeof(int));
    }
    assert_true(sendmsg(socket, &message, MSG_NOSIGNAL) >= 0);
}

/* Receives with and without a matching row; nothing may leak when it breaks. */
static int receive(int socket, size_t row, struct wire_message *message)
{
    return wire_receive(socket, messages[row].link, messages[row].from_supervisor, message);
}

static void test_wire_round_trip(void **state)
{
    (void)state;
    for (size_t row = 0; row < COUNT(messages); row++) {
        for (int fds = messages[row].least_fds; fds <= messages[row].most_fds; fds++) {
            struct wire_message sent = {.type = messages[row].type, .fd_count = fds}, got;
            int pair[2], before = lowest_free();
            make_pair(pair);
            for (size_t i = 0; i < messages[row].size; i++)
                sent.bytes[i] = (uint8_t)(i * 31 + row);
            for (int i = 0; i < fds; i++)
                sent.fds[i] = STDERR_FILENO;
            assert_int_equal(wire_send(pair[0], &sent), WIRE_OK);
            assert_int_equal(receive(pair[1], row, &got), WIRE_OK);
            assert_int_equal(got.type, messages[row].type);
            assert_int_equal(got.fd_count, fds);
            assert_memory_equal(got.bytes, sent.bytes, messages[row].size);
            wire_close_fds(&got);
            assert_int_equal(receive(pair[1], row, &got), WIRE_AGAIN);
            close_pair(pair);
            assert_int_equal(lowest_free(), before);
        }
    }
}

/* Every message on every link in either direction: taken only where the table has it. */
static void test_wire_place(void **state)
{
    (void)state;
    for (size_t row = 0; row < COUNT(messages); row++) {
        for (int link = LINK_FRONT; link <= LINK_RUN; link++) {
            for (int down = 0; down < 2; down++) {
                struct wire_message got;
                int pair[2], before = lowest_free();
                bool right = link == (int)messages[row].link && (down == 1) == messages[row].from_supervisor;
                make_pair(pair);
                send_raw(pair[0], WIRE_MAGIC | messages[row].type, (uint32_t)messages[row].size, messages[row].size,
                         messages[row].least_fds);
                assert_int_equal(wire_receive(pair[1], (enum wire_link)link, down, &got),
                                 right ? WIRE_OK : WIRE_BROKEN);
                if (right)
                    wire_close_fds(&got);
                close_pair(pair);
                assert_int_equal(lowest_free(), before);
            }
        }
    }
}

/* One raw message that the given row's receiver must refuse without keeping a descriptor. */
static void assert_broken(size_t row, uint32_t word, uint32_t said, size_t size, int fds)
{
    struct wire_message got;
    int pair[2], before = lowest_free();
    make_pair(pair);
    send_raw(pair[0], word, said, size, fds);
    if (receive(pair[1], row, &got) != WIRE_BROKEN)
        fail_msg("taken: row %zu, word %x, said %u, size %zu, fds %d", row, word, said, size, fds);
    close_pair(pair);
    assert_int_equal(lowest_free(), before);
}

static void test_wire_violations(void **state)
{
    (void)state;
    for (size_t row = 0; row < COUNT(messages); row++) {
        uint32_t word = WIRE_MAGIC | messages[row].type, size = (uint32_t)messages[row].size;
        int least = messages[row].least_fds, most = messages[row].most_fds;
        for (uint32_t other = 0; other <= WIRE_BYTES + 8; other += other < size + 8 ? 1 : 97) {
            if (other != size)
                assert_broken(row, word, other, other, least);
        }
        assert_broken(row, word, size + 1, size, least);
        assert_broken(row, word, size - 1, size, least);
        assert_broken(row, word, UINT32_MAX, size, least);
        assert_broken(row, messages[row].type, size, size, least);
        assert_broken(row, 0x53540000 | messages[row].type, size, size, least);
        for (uint32_t type = 0; type <= WIRE_TYPE_END + 1; type++) {
            if (type != messages[row].type && (type >= WIRE_TYPE_END || type == 0 || type == WIRE_PLAN))
                assert_broken(row, WIRE_MAGIC | type, size, size, least);
        }
        assert_broken(row, WIRE_MAGIC | 0xffff, size, size, least);
        for (int fds = 0; fds <= 40; fds++) {
            if (fds < least || fds > most)
                assert_broken(row, word, size, size, fds);
        }
    }
}

/* A message shorter than a header, an empty one, a peer that has gone. */
static void test_wire_ends(void **state)
{
    struct wire_message got;
    int pair[2];
    (void)state;
    for (size_t length = 1; length < 8; length++) {
        make_pair(pair);
        assert_int_equal(send(pair[0], "\x02\x00SS\x04\x00\x00", length, 0), length);
        assert_int_equal(wire_receive(pair[1], LINK_FRONT, true, &got), WIRE_BROKEN);
        close_pair(pair);
    }
    make_pair(pair);
    drop_fd(&pair[0]);
    assert_int_equal(wire_receive(pair[1], LINK_FRONT, true, &got), WIRE_CLOSED);
    struct wire_message cancel = {.type = WIRE_CANCEL};
    assert_int_equal(wire_send(pair[1], &cancel), WIRE_CLOSED);
    close_pair(pair);
    make_pair(pair);
    int result, sent = 0;
    while ((result = wire_send(pair[0], &cancel)) == WIRE_OK)
        sent++;
    assert_int_equal(result, WIRE_AGAIN);
    while (wire_receive(pair[1], LINK_FRONT, false, &got) == WIRE_OK)
        sent--;
    assert_int_equal(sent, 0);
    close_pair(pair);
}

static void test_wire_plan(void **state)
{
    uint8_t plan[300], got[300];
    int pair[2];
    (void)state;
    for (size_t i = 0; i < sizeof plan; i++)
        plan[i] = (uint8_t)i;
    make_pair(pair);
    assert_int_equal(wire_send_plan(pair[0], plan, sizeof plan), WIRE_OK);
    assert_int_equal(wire_receive_plan(pair[1], got, sizeof got), WIRE_OK);
    assert_memory_equal(got, plan, sizeof plan);
    assert_int_equal(wire_send_plan(pair[0], plan, sizeof plan), WIRE_OK);
    assert_int_equal(wire_receive_plan(pair[1], got, sizeof got - 1), WIRE_BROKEN);
    assert_int_equal(wire_send_plan(pair[0], plan, WIRE_BYTES + 1), WIRE_BROKEN);
    send_raw(pair[0], WIRE_MAGIC | WIRE_PLAN, 300, 300, 1);
    int before = lowest_free();
    assert_int_equal(wire_receive_plan(pair[1], got, sizeof got), WIRE_BROKEN);
    assert_int_equal(lowest_free(), before);
    send_raw(pair[0], WIRE_MAGIC | WIRE_READY, 300, 300, 0);
    assert_int_equal(wire_receive_plan(pair[1], got, sizeof got), WIRE_BROKEN);
    close_pair(pair);
}

static void test_wire_names(void **state)
{
    (void)state;
    assert_string_equal(wire_name(WIRE_RUN), "RUN");
    assert_string_equal(wire_name(0), "unknown");
    assert_string_equal(wire_name(UINT32_MAX), "unknown");
    for (uint32_t type = 1; type < WIRE_TYPE_END; type++)
        assert_string_not_equal(wire_name(type), "unknown");
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
    log_open("test", LOG_INFO);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_table),
        cmocka_unit_test(test_limit_text),
        cmocka_unit_test(test_outcome_wait_statuses),
        cmocka_unit_test(test_outcome_facts),
        cmocka_unit_test(test_outcome_rows),
        cmocka_unit_test(test_outcome_hostile),
        cmocka_unit_test(test_signal_names),
        cmocka_unit_test(test_one_line),
        cmocka_unit_test(test_status_table),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_buffer),
        cmocka_unit_test(test_wire_round_trip),
        cmocka_unit_test(test_wire_place),
        cmocka_unit_test(test_wire_violations),
        cmocka_unit_test(test_wire_ends),
        cmocka_unit_test(test_wire_plan),
        cmocka_unit_test(test_wire_names),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
