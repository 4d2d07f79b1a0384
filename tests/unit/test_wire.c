/* wire.c: each message arrives whole where the table has it, is refused everywhere else, and no descriptor leaks. */
#include "support.h"

#include "wire.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

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
    {WIRE_WARM, LINK_ZYGOTE, true, sizeof(struct wire_warm), 0, 0},
    {WIRE_READY, LINK_ZYGOTE, false, sizeof(struct wire_ready), 0, 0},
    {WIRE_SPAWN, LINK_ZYGOTE, true, sizeof(struct wire_spawn), 4, 10},
    {WIRE_SPAWNED, LINK_ZYGOTE, false, sizeof(struct wire_spawned), 1, 1},
    {WIRE_SPAWN_FAILED, LINK_ZYGOTE, false, sizeof(struct wire_spawn_failed), 0, 0},
    {WIRE_ENTER, LINK_RUN, true, sizeof(struct wire_empty), 0, 0},
    {WIRE_JAILED, LINK_RUN, false, sizeof(struct wire_jailed), 0, 1},
    {WIRE_JAIL_FAILED, LINK_RUN, false, sizeof(struct wire_spawn_failed), 0, 0},
    {WIRE_START, LINK_RUN, true, sizeof(struct wire_start), 1, 2},
    {WIRE_BEGIN, LINK_STARTER, true, sizeof(struct wire_begin), 1, 1},
    {WIRE_MAP, LINK_STARTER, true, sizeof(struct wire_map), 2, 2},
    {WIRE_MAP_FAILED, LINK_STARTER, false, sizeof(struct wire_spawn_failed), 0, 0},
    {WIRE_DONE, LINK_STARTER, false, sizeof(struct wire_done), 0, 0},
    {WIRE_TLS_SETUP, LINK_TLS, true, sizeof(struct wire_tls_setup), 2, WIRE_FDS},
    {WIRE_TLS_STATE, LINK_TLS, true, sizeof(struct wire_state), 0, 0},
    {WIRE_TLS_ANSWER, LINK_TLS, false, sizeof(struct wire_tls_answer), 0, 0},
    {WIRE_CLIENT, LINK_CLIENTS, true, sizeof(struct wire_client), 1, 1},
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

/* A process that may have no more descriptors gets the rest of a message, and none of those that came with it. */
static void test_wire_starved(void **state)
{
    struct rlimit before, few;
    (void)state;
    for (size_t row = 0; row < COUNT(messages); row++) {
        for (int fds = messages[row].least_fds; fds <= messages[row].most_fds; fds++) {
            struct wire_message sent = {.type = messages[row].type, .fd_count = fds}, got;
            int pair[2], lowest = lowest_free();
            make_pair(pair);
            for (int i = 0; i < fds; i++)
                sent.fds[i] = STDERR_FILENO;
            sent.bytes[0] = (uint8_t)row;
            for (int room = 0; room < fds; room++) {
                assert_int_equal(wire_send(pair[0], &sent), WIRE_OK);
                assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
                few = (struct rlimit){(rlim_t)(lowest_free() + room), before.rlim_max};
                assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
                int result = receive(pair[1], row, &got);
                assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
                assert_int_equal(result, WIRE_STARVED);
                assert_int_equal(got.type, messages[row].type);
                assert_int_equal(got.fd_count, 0);
                assert_int_equal(got.bytes[0], row);
            }
            close_pair(pair);
            assert_int_equal(lowest_free(), lowest);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_round_trip), cmocka_unit_test(test_wire_starved), cmocka_unit_test(test_wire_place),
        cmocka_unit_test(test_wire_violations), cmocka_unit_test(test_wire_ends),    cmocka_unit_test(test_wire_plan),
        cmocka_unit_test(test_wire_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
