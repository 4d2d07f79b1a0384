#include "wire.h"

#include "scope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum direction { DOWN, UP }; /* from the supervisor, to the supervisor */

/* The message table. A receiver that knows its link and direction knows from it all that it may be told. */
static const struct wire_row {
    const char *name;
    enum wire_link link;
    enum direction direction;
    uint16_t size;
    uint8_t least_fds, most_fds;
} rows[WIRE_TYPE_END] = {
    [WIRE_SETUP] = {"SETUP", LINK_FRONT, DOWN, sizeof(struct wire_setup), 2, WIRE_FDS},
    [WIRE_KEYS] = {"KEYS", LINK_FRONT, DOWN, sizeof(struct wire_keys), 0, 1},
    [WIRE_STATE] = {"STATE", LINK_FRONT, DOWN, sizeof(struct wire_state), 0, 0},
    [WIRE_RUN] = {"RUN", LINK_FRONT, UP, sizeof(struct wire_run), 1, 2},
    [WIRE_CANCEL] = {"CANCEL", LINK_FRONT, UP, sizeof(struct wire_cancel), 0, 0},
    [WIRE_QUEUED] = {"QUEUED", LINK_FRONT, DOWN, sizeof(struct wire_queued), 0, 0},
    [WIRE_STARTED] = {"STARTED", LINK_FRONT, DOWN, sizeof(struct wire_started), 3, 3},
    [WIRE_OUTCOME] = {"OUTCOME", LINK_FRONT, DOWN, sizeof(struct wire_outcome), 0, 0},
    [WIRE_REFUSED] = {"REFUSED", LINK_FRONT, DOWN, sizeof(struct wire_refused), 0, 0},
    [WIRE_ROOM] = {"ROOM", LINK_FRONT, DOWN, sizeof(struct wire_empty), 0, 0},
    [WIRE_ASK_STATS] = {"ASK_STATS", LINK_FRONT, UP, sizeof(struct wire_empty), 0, 0},
    [WIRE_STATS] = {"STATS", LINK_FRONT, DOWN, sizeof(struct wire_stats), 0, 0},
    [WIRE_WARM] = {"WARM", LINK_ZYGOTE, DOWN, sizeof(struct wire_warm), 0, 0},
    [WIRE_PLAN] = {"PLAN", LINK_ZYGOTE, DOWN, 0, 0, 0},
    [WIRE_READY] = {"READY", LINK_ZYGOTE, UP, sizeof(struct wire_ready), 0, 0},
    [WIRE_SPAWN] = {"SPAWN", LINK_ZYGOTE, DOWN, sizeof(struct wire_spawn), 4, 10},
    [WIRE_SPAWNED] = {"SPAWNED", LINK_ZYGOTE, UP, sizeof(struct wire_spawned), 1, 1},
    [WIRE_SPAWN_FAILED] = {"SPAWN_FAILED", LINK_ZYGOTE, UP, sizeof(struct wire_spawn_failed), 0, 0},
    [WIRE_ENTER] = {"ENTER", LINK_RUN, DOWN, sizeof(struct wire_empty), 0, 0},
    [WIRE_JAILED] = {"JAILED", LINK_RUN, UP, sizeof(struct wire_jailed), 0, 1},
    [WIRE_JAIL_FAILED] = {"JAIL_FAILED", LINK_RUN, UP, sizeof(struct wire_spawn_failed), 0, 0},
    [WIRE_START] = {"START", LINK_RUN, DOWN, sizeof(struct wire_start), 1, 2},
    [WIRE_BEGIN] = {"BEGIN", LINK_STARTER, DOWN, sizeof(struct wire_begin), 1, 1},
    [WIRE_MAP] = {"MAP", LINK_STARTER, DOWN, sizeof(struct wire_map), MAP_FDS, MAP_FDS},
    [WIRE_MAP_FAILED] = {"MAP_FAILED", LINK_STARTER, UP, sizeof(struct wire_spawn_failed), 0, 0},
    [WIRE_DONE] = {"DONE", LINK_STARTER, UP, sizeof(struct wire_done), 0, 0},
    [WIRE_TLS_SETUP] = {"TLS_SETUP", LINK_TLS, DOWN, sizeof(struct wire_tls_setup), 2, WIRE_FDS},
    [WIRE_TLS_STATE] = {"TLS_STATE", LINK_TLS, DOWN, sizeof(struct wire_state), 0, 0},
    [WIRE_TLS_ANSWER] = {"TLS_ANSWER", LINK_TLS, UP, sizeof(struct wire_tls_answer), 0, 0},
    [WIRE_CLIENT] = {"CLIENT", LINK_CLIENTS, DOWN, sizeof(struct wire_client), 1, 1},
};

struct header {
    uint32_t magic_and_type;
    uint32_t size;
};

#define MAGIC UINT32_C(0x53530000)

/* Both ends are one build; a larger body than WIRE_BYTES is a mistake of ours. */
_Static_assert(sizeof(struct wire_outcome) <= WIRE_BYTES, "a message body fits");
_Static_assert(sizeof(struct wire_setup) <= WIRE_BYTES, "a message body fits");
_Static_assert(sizeof(struct wire_stats) <= WIRE_BYTES, "a message body fits");

const char *wire_name(uint32_t type)
{
    return type < WIRE_TYPE_END && rows[type].name ? rows[type].name : "unknown";
}

void wire_close_fds(struct wire_message *message)
{
    for (int i = 0; i < message->fd_count; i++)
        drop_fd(&message->fds[i]);
    message->fd_count = 0;
}

static int send_parts(int socket, uint32_t type, const void *body, size_t size, const int *fds, int fd_count)
{
    struct header header = {MAGIC | type, (uint32_t)size};
    struct iovec parts[2] = {{&header, sizeof header}, {(void *)(uintptr_t)body, size}};
    union {
        char bytes[CMSG_SPACE(sizeof(int) * WIRE_FDS)];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (fd_count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        memset(control.bytes, 0, message.msg_controllen);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * (size_t)fd_count);
    }
    for (;;) {
        ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (sent >= 0)
            return WIRE_OK;
        if (errno == EINTR)
            continue;
        /* ETOOMANYREFS: more descriptors in flight than RLIMIT_NOFILE; room comes as the peer receives. */
        if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
            return WIRE_AGAIN;
        return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? WIRE_CLOSED : WIRE_BROKEN;
    }
}

int wire_send(int socket, const struct wire_message *message)
{
    const struct wire_row *row = &rows[message->type < WIRE_TYPE_END ? message->type : 0];
    if (!row->name || !row->size || message->fd_count < row->least_fds || message->fd_count > row->most_fds)
        abort();
    return send_parts(socket, message->type, message->bytes, row->size, message->fds, message->fd_count);
}

int wire_send_plan(int socket, const void *plan, size_t size)
{
    return size > WIRE_BYTES ? WIRE_BROKEN : send_parts(socket, WIRE_PLAN, plan, size, NULL, 0);
}

/* Takes descriptors out of the control data, however many there are, so that none leaks. Where there was room for more
 * in the buffer and all the same it is cut, it was the kernel that could give us no more of them (unix(7): EMFILE). */
static void take_control(struct msghdr *from, struct wire_message *message, bool *broken, bool *starved)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(from); cmsg; cmsg = CMSG_NXTHDR(from, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            *broken = true;
            continue;
        }
        size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof fd, sizeof fd);
            if (message->fd_count < WIRE_FDS)
                message->fds[message->fd_count++] = fd;
            else
                close(fd);
        }
    }
    *starved = from->msg_flags & MSG_CTRUNC && message->fd_count < WIRE_FDS;
    if (from->msg_flags & MSG_TRUNC || (from->msg_flags & MSG_CTRUNC && !*starved))
        *broken = true;
}

static int receive_parts(int socket, struct wire_message *message, size_t *size)
{
    struct header header;
    struct iovec parts[2] = {{&header, sizeof header}, {message->bytes, sizeof message->bytes}};
    union {
        char bytes[CMSG_SPACE(sizeof(int) * WIRE_FDS)];
        struct cmsghdr align;
    } control;
    struct msghdr from = {
        .msg_iov = parts, .msg_iovlen = 2, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t length;
    bool broken = false, starved = false;
    message->fd_count = 0;
    do
        length = recvmsg(socket, &from, MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        return errno == EAGAIN ? WIRE_AGAIN : errno == ECONNRESET ? WIRE_CLOSED : WIRE_BROKEN;
    take_control(&from, message, &broken, &starved);
    if (length == 0 && !message->fd_count && !broken && !starved)
        return WIRE_CLOSED;
    if (!broken && (size_t)length >= sizeof header && (header.magic_and_type & 0xffff0000) == MAGIC &&
        header.size == (size_t)length - sizeof header) {
        message->type = header.magic_and_type & 0xffff;
        *size = header.size;
        if (starved)
            wire_close_fds(message);
        return starved ? WIRE_STARVED : WIRE_OK;
    }
    wire_close_fds(message);
    return WIRE_BROKEN;
}

int wire_receive(int socket, enum wire_link link, bool from_supervisor, struct wire_message *message)
{
    size_t size = 0;
    int result = receive_parts(socket, message, &size);
    if (result != WIRE_OK && result != WIRE_STARVED)
        return result;
    const struct wire_row *row = &rows[message->type < WIRE_TYPE_END ? message->type : 0];
    if (row->name && row->size && row->link == link && row->direction == (from_supervisor ? DOWN : UP) &&
        size == row->size && message->fd_count <= row->most_fds &&
        (message->fd_count >= row->least_fds || result == WIRE_STARVED))
        return result == WIRE_STARVED && row->most_fds == 0 ? WIRE_BROKEN : result;
    wire_close_fds(message);
    return WIRE_BROKEN;
}

int wire_receive_plan(int socket, void *plan, size_t size)
{
    struct wire_message message;
    size_t received = 0;
    int result = receive_parts(socket, &message, &received);
    if (result != WIRE_OK)
        return result == WIRE_STARVED ? WIRE_BROKEN : result;
    if (message.type != WIRE_PLAN || received != size || message.fd_count) {
        wire_close_fds(&message);
        return WIRE_BROKEN;
    }
    memcpy(plan, message.bytes, size);
    return WIRE_OK;
}
