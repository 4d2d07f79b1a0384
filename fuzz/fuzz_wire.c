/* wire.c, fed one raw message. The first byte picks the receiver (link and direction, or the plan's), the second how
 * many descriptors come along. What is accepted says so, has its descriptors open, and nothing is open twice or left
 * over. */
#include "fuzz.h"

#include "scope.h"
#include "wire.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

enum { FDS_MOST = 40, PLAN_BYTES = 96 };

static void send_message(int socket, const uint8_t *bytes, size_t length, size_t fds)
{
    struct iovec part = {(void *)(uintptr_t)bytes, length};
    union {
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MOST)];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fds) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fds);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fds);
        for (size_t i = 0; i < fds; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &socket, sizeof(int));
    }
    must(sendmsg(socket, &message, MSG_NOSIGNAL) >= 0 || length > 60000);
}

/* The lowest free descriptor: it is the same again when none has leaked. */
static int lowest_free(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    must(fd >= 0);
    close(fd);
    return fd;
}

static void receive_plan(int socket)
{
    uint8_t plan[PLAN_BYTES];
    int result = wire_receive_plan(socket, plan, sizeof plan);
    must(result == WIRE_OK || result == WIRE_AGAIN || result == WIRE_CLOSED || result == WIRE_BROKEN);
}

static void receive_message(int socket, unsigned place)
{
    struct wire_message message;
    int result = wire_receive(socket, (enum wire_link)(place >> 1), place & 1, &message);
    must(result == WIRE_OK || result == WIRE_AGAIN || result == WIRE_CLOSED || result == WIRE_BROKEN);
    if (result != WIRE_OK)
        return;
    must(strcmp(wire_name(message.type), "unknown") != 0);
    must(message.fd_count >= 0 && message.fd_count <= WIRE_FDS);
    for (int i = 0; i < message.fd_count; i++)
        must(fcntl(message.fds[i], F_GETFD) == FD_CLOEXEC);
    wire_close_fds(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    int pair[2], before = lowest_free();
    if (length < 2)
        return 0;
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    send_message(pair[0], bytes + 2, length - 2, bytes[1] % (FDS_MOST + 1));
    if (bytes[0] % 9 == 6)
        receive_plan(pair[1]);
    else
        receive_message(pair[1], bytes[0] % 9 < 6 ? bytes[0] % 9 : bytes[0] % 9 - 1);
    drop_fd(&pair[0]);
    drop_fd(&pair[1]);
    must(lowest_free() == before);
    return 0;
}
