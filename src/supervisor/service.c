#include "service.h"

#include "scope.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { FIRST_PASSED = 3 };

/* A variable that holds a whole number and nothing else; `missing` where it does not. */
static uint64_t number_of(const char *name, uint64_t missing)
{
    const char *text = getenv(name);
    char *end;
    if (!text || !isdigit((unsigned char)*text))
        return missing;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    return errno || *end ? missing : number;
}

/* ---- sockets ---- */

static int socket_option(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &size) ? -1 : value;
}

static int take_socket(int passed, struct fault *fault)
{
    int domain = socket_option(passed, SO_DOMAIN);
    bool fits = domain == AF_UNIX || domain == AF_INET || domain == AF_INET6;
    if (!fits || socket_option(passed, SO_TYPE) != SOCK_STREAM || socket_option(passed, SO_ACCEPTCONN) != 1)
        return fault_set(fault, "listen", "take", 0, "descriptor %d, which was passed to us, is no listening socket",
                         passed);
    /* Away from the low numbers: 3 and 4 have a meaning in the processes that we begin. */
    auto_fd int fd = fcntl(passed, F_DUPFD_CLOEXEC, SERVICE_FDS);
    if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK))
        return fault_set(fault, "listen", "take", errno, "descriptor %d", passed);
    close(passed);
    return take_fd(&fd);
}

int service_sockets(int *fds, const char **names, size_t most, struct fault *fault)
{
    uint64_t count = number_of("LISTEN_FDS", 0);
    char *text = getenv("LISTEN_FDNAMES");
    if (number_of("LISTEN_PID", 0) != (uint64_t)getpid() || !count)
        return 0;
    if (count > most)
        return fault_set(fault, "listen", "take", 0, "%" PRIu64 " sockets were passed to us; we take %zu", count, most);
    for (int i = 0; i < (int)count; i++) {
        char *end = text ? strchr(text, ':') : NULL;
        names[i] = text ? text : "";
        if (end)
            *end++ = 0;
        text = end;
        fds[i] = take_socket(FIRST_PASSED + i, fault);
        if (fds[i] < 0)
            return -1;
    }
    return (int)count;
}

/* ---- words ---- */

void service_tell(const char *format, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t length = path ? strlen(path) : 0;
    char text[256];
    va_list arguments;
    if (length == 0 || length >= sizeof name.sun_path || !strchr("/@", *path))
        return;
    memcpy(name.sun_path, path, length);
    if (*path == '@') /* an abstract one: its length is part of its name */
        name.sun_path[0] = 0;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    auto_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && size > 0 && (size_t)size < sizeof text)
        sendto(fd, text, (size_t)size, MSG_NOSIGNAL, (struct sockaddr *)&name,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

uint64_t service_watchdog_us(void)
{
    uint64_t pid = number_of("WATCHDOG_PID", (uint64_t)getpid());
    return pid == (uint64_t)getpid() ? number_of("WATCHDOG_USEC", 0) / 2 : 0;
}
