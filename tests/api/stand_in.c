/* In the place of safe-script-http, for tests: gives the supervisor's socket, and all that came with the first message,
 * to whoever connects to the first listening socket (which must be a Unix one), and sleeps until that connection ends.
 * With --layout it prints how the messages lie in memory, as JSON, for tests that write them byte by byte. */
#include "frames.h"
#include "scope.h"
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { SUPERVISOR = 3 };

struct field {
    const char *name;
    size_t offset, size;
};

#define FIELD(type, member)                                                                                            \
    {                                                                                                                  \
#member, offsetof(struct type, member), sizeof((struct type *)NULL)->member                                    \
    }
#define FIELDS(...)                                                                                                    \
    (const struct field[])                                                                                             \
    {                                                                                                                  \
        __VA_ARGS__,                                                                                                   \
        {                                                                                                              \
            NULL, 0, 0                                                                                                 \
        }                                                                                                              \
    }

static const struct {
    const char *name;
    enum wire_type type;
    size_t size;
    const struct field *fields;
} messages[] = {
    {"SETUP", WIRE_SETUP, sizeof(struct wire_setup), FIELDS(FIELD(wire_setup, limits), FIELD(wire_setup, listeners))},
    {"STATE", WIRE_STATE, sizeof(struct wire_state), FIELDS(FIELD(wire_state, serving))},
    {"RUN", WIRE_RUN, sizeof(struct wire_run),
     FIELDS(FIELD(wire_run, id), FIELD(wire_run, limits), FIELD(wire_run, has_stdin), FIELD(wire_run, tell_queued),
            FIELD(wire_run, owner), FIELD(wire_run, probe))},
    {"CANCEL", WIRE_CANCEL, sizeof(struct wire_cancel), FIELDS(FIELD(wire_cancel, id), FIELD(wire_cancel, cause))},
    {"QUEUED", WIRE_QUEUED, sizeof(struct wire_queued), FIELDS(FIELD(wire_queued, id))},
    {"STARTED", WIRE_STARTED, sizeof(struct wire_started), FIELDS(FIELD(wire_started, id))},
    {"OUTCOME", WIRE_OUTCOME, sizeof(struct wire_outcome),
     FIELDS(FIELD(wire_outcome, id), FIELD(wire_outcome, facts.cause), FIELD(wire_outcome, facts.wait_status))},
    {"REFUSED", WIRE_REFUSED, sizeof(struct wire_refused),
     FIELDS(FIELD(wire_refused, id), FIELD(wire_refused, reason))},
    {"ASK_STATS", WIRE_ASK_STATS, sizeof(struct wire_empty), FIELDS(FIELD(wire_empty, zero))},
    {"STATS", WIRE_STATS, sizeof(struct wire_stats), FIELDS(FIELD(wire_stats, queued))},
    {"READY", WIRE_READY, sizeof(struct wire_ready), FIELDS(FIELD(wire_ready, version))},
    {"SPAWN", WIRE_SPAWN, sizeof(struct wire_spawn), FIELDS(FIELD(wire_spawn, slot))},
    {"SPAWNED", WIRE_SPAWNED, sizeof(struct wire_spawned), FIELDS(FIELD(wire_spawned, slot), FIELD(wire_spawned, pid))},
    {"SPAWN_FAILED", WIRE_SPAWN_FAILED, sizeof(struct wire_spawn_failed),
     FIELDS(FIELD(wire_spawn_failed, slot), FIELD(wire_spawn_failed, fault))},
    {"ENTER", WIRE_ENTER, sizeof(struct wire_empty), FIELDS(FIELD(wire_empty, zero))},
    {"JAILED", WIRE_JAILED, sizeof(struct wire_jailed), FIELDS(FIELD(wire_jailed, layers))},
    {"JAIL_FAILED", WIRE_JAIL_FAILED, sizeof(struct wire_spawn_failed), FIELDS(FIELD(wire_spawn_failed, fault))},
    {"START", WIRE_START, sizeof(struct wire_start), FIELDS(FIELD(wire_start, limits))},
    {"BEGIN", WIRE_BEGIN, sizeof(struct wire_begin), FIELDS(FIELD(wire_begin, what))},
    {"MAP", WIRE_MAP, sizeof(struct wire_map), FIELDS(FIELD(wire_map, pid))},
    {"MAP_FAILED", WIRE_MAP_FAILED, sizeof(struct wire_spawn_failed),
     FIELDS(FIELD(wire_spawn_failed, slot), FIELD(wire_spawn_failed, fault))},
    {"DONE", WIRE_DONE, sizeof(struct wire_done), FIELDS(FIELD(wire_done, pid))},
};

static int layout(void)
{
    printf("{\"fds\":%d,\"bytes\":%d,\"owners\":%d,\"nonce\":%d,\n\"limits\":[", WIRE_FDS, WIRE_BYTES, OWNERS,
           NONCE_BYTES);
    for (int i = 0; i < LIMIT_COUNT; i++)
        printf("%s{\"name\":\"%s\",\"least\":%llu}", i ? "," : "", limit_table[i].name,
               (unsigned long long)limit_table[i].least);
    printf("],\n\"causes\":{\"wall\":%d,\"output\":%d,\"cancelled\":%d},\n\"messages\":{", CAUSE_WALL, CAUSE_OUTPUT,
           CAUSE_CANCELLED);
    for (size_t i = 0; i < COUNT(messages); i++) {
        printf("%s\n\"%s\":{\"type\":%d,\"size\":%zu", i ? "," : "", messages[i].name, messages[i].type,
               messages[i].size);
        for (const struct field *field = messages[i].fields; field->name; field++)
            printf(",\"%s\":[%zu,%zu]", field->name, field->offset, field->size);
        printf("}");
    }
    puts("}}");
    return 0;
}

/* Gives message and its descriptors, and before them the supervisor's socket, to the one who connects. */
static int hand_over(int connection, struct wire_message *setup)
{
    int fds[WIRE_FDS + 1] = {SUPERVISOR};
    struct iovec part = {&setup->setup, sizeof setup->setup};
    union {
        char bytes[CMSG_SPACE(sizeof fds)];
        struct cmsghdr align;
    } control = {0};
    size_t count = 1 + (size_t)setup->fd_count;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
    memcpy(fds + 1, setup->fds, sizeof(int) * (size_t)setup->fd_count);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
    return sendmsg(connection, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct wire_message setup;
    char byte;
    if (argc == 2 && strcmp(argv[1], "--layout") == 0)
        return layout();
    if (wire_receive(SUPERVISOR, LINK_FRONT, true, &setup) != WIRE_OK || setup.type != WIRE_SETUP ||
        setup.setup.listeners == 0)
        return 2;
    struct pollfd client = {.fd = setup.fds[setup.fd_count - (int)setup.setup.listeners], .events = POLLIN};
    int connection;
    while ((connection = accept4(client.fd, NULL, NULL, SOCK_CLOEXEC)) < 0) {
        if (errno != EAGAIN)
            return 3;
        poll(&client, 1, -1);
    }
    if (hand_over(connection, &setup))
        return 4;
    wire_close_fds(&setup);
    close(SUPERVISOR);
    while (read(connection, &byte, 1) > 0)
        continue;
    return 0;
}
