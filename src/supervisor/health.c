#include "health.h"

#include "listen.h"
#include "scope.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

static int complain(const char *address, const char *what)
{
    fprintf(stderr, "safe-script: %s: %s\n", address, what);
    return 1;
}

/* The whole answer, or as much of it as there is room for. */
static ssize_t ask(int fd, char *answer, size_t size)
{
    static const char question[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    size_t length = 0;
    ssize_t got;
    if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) != (ssize_t)sizeof question - 1)
        return -1;
    while (length + 1 < size && (got = recv(fd, answer + length, size - length - 1, 0)) != 0) {
        if (got < 0)
            return -1;
        length += (size_t)got;
    }
    answer[length] = 0;
    return (ssize_t)length;
}

int health(const struct settings *settings)
{
    enum { PATIENCE_S = 5 };
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct fault fault;
    char answer[4096], text[512];
    const char *address = settings->listen[0];
    for (size_t i = 0; i < settings->listen_count && listen_speaks_tls(address); i++)
        address = settings->listen[i];
    auto_fd int fd = listen_connect(address, PATIENCE_S, &fault);
    if (fd < 0) {
        fprintf(stderr, "safe-script: %s\n", fault_text(&fault, text, sizeof text));
        return 1;
    }
    if (listen_speaks_tls(address)) {
        printf("%s: somebody listens\n", address);
        return 0;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (ask(fd, answer, sizeof answer) <= 0)
        return complain(address, errno == EAGAIN ? "no answer" : "the connection was closed without an answer");
    unsigned status = 0;
    const char *body = strstr(answer, "\r\n\r\n");
    if (sscanf(answer, "HTTP/1.1 %u", &status) != 1 || !body)
        return complain(address, "no HTTP server answers there");
    printf("%s\n", body + strlen("\r\n\r\n"));
    return status == 200 ? 0 : 1;
}
