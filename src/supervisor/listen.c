#include "listen.h"

#include "scope.h"
#include "service.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

enum { BACKLOG = 4096 };

static const char unix_prefix[] = "unix:", tls_prefix[] = "tls:";

static bool is_tls(const char *address)
{
    return strncmp(address, tls_prefix, sizeof tls_prefix - 1) == 0;
}

/* Host and port of an address of either kind, without what says the kind. */
static const char *without_tls(const char *address)
{
    return address + (is_tls(address) ? sizeof tls_prefix - 1 : 0);
}

static int refuse(struct fault *fault, const char *operation, int error, const char *address)
{
    return fault_set(fault, "listen", operation, error, "%s", address);
}

static int listen_unix(const char *address, struct fault *fault)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const char *path = address + sizeof unix_prefix - 1;
    memcpy(name.sun_path, path, strlen(path) + 1);
    auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return refuse(fault, "socket", errno, address);
    /* A dead server's socket refuses; a living one's must not be taken away from it. */
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISSOCK(info.st_mode)) {
        auto_fd int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (probe >= 0 && connect(probe, (struct sockaddr *)&name, sizeof name) && errno == ECONNREFUSED)
            unlink(path);
    }
    if (bind(fd, (struct sockaddr *)&name, sizeof name))
        return refuse(fault, "bind", errno, address);
    if (listen(fd, BACKLOG))
        return refuse(fault, "listen", errno, address);
    return take_fd(&fd);
}

/* Splits "host:port" or "[host]:port" in place. */
static char *split_port(char *text)
{
    char *colon = strrchr(text, ':');
    if (!colon)
        return NULL;
    *colon = 0;
    size_t length = strlen(text);
    if (*text == '[' && length > 2 && text[length - 1] == ']') {
        text[length - 1] = 0;
        memmove(text, text + 1, length - 1);
    } else if (strchr(text, ':')) {
        return NULL;
    }
    return colon + 1;
}

/* This machine alone reaches the address. */
static bool is_local(const struct sockaddr *name)
{
    if (name->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)name)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (name->sa_family != AF_INET6)
        return name->sa_family == AF_UNIX;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)name)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == IN_LOOPBACKNET);
}

static int refuse_exposed(const char *address, struct fault *fault)
{
    return fault_set(fault, "listen", "expose", 0, "%s", address);
}

static bool needs_local(const struct settings *settings)
{
    return !settings->keys_file && !settings->open_to_all;
}

int listen_allowed(const struct settings *settings, const struct listening *listening, size_t count,
                   struct fault *fault)
{
    for (size_t i = 0; i < count && needs_local(settings); i++) {
        if (!listening[i].local)
            return refuse_exposed(listening[i].address, fault);
    }
    return 0;
}

static int check_address(const char *address, struct fault *fault)
{
    char host[256], *end;
    if (strncmp(address, unix_prefix, sizeof unix_prefix - 1) == 0) {
        size_t length = strlen(address + sizeof unix_prefix - 1);
        if (length && length < sizeof((struct sockaddr_un *)NULL)->sun_path)
            return 0;
        return fault_set(fault, "listen", "parse", 0, "%s: a path of 1 to 107 bytes follows unix:", address);
    }
    snprintf(host, sizeof host, "%s", without_tls(address));
    const char *port = split_port(host);
    unsigned long number = port && isdigit((unsigned char)*port) ? strtoul(port, &end, 10) : ULONG_MAX;
    if (!*host || number > 65535 || *end)
        return fault_set(fault, "listen", "parse", 0,
                         "%s is not ADDRESS:PORT, [ADDRESS]:PORT, tls:ADDRESS:PORT or unix:PATH", address);
    return 0;
}

static int check_tls(const struct settings *settings, struct fault *fault)
{
    if (!settings->tls_certificate != !settings->tls_key)
        return fault_set(fault, "tls", "check", 0, "tls_certificate and tls_key go together");
    for (size_t i = 0; i < settings->listen_count; i++) {
        if (is_tls(settings->listen[i]) && !settings->tls_key)
            return fault_set(fault, "tls", "check", 0, "%s needs tls_certificate and tls_key", settings->listen[i]);
    }
    return 0;
}

int listen_check(const struct settings *settings, struct fault *fault)
{
    for (size_t i = 0; i < settings->listen_count; i++) {
        const char *address = settings->listen[i];
        char host[256];
        struct addrinfo *found, hints = {.ai_flags = AI_NUMERICHOST};
        if (check_address(address, fault))
            return -1;
        snprintf(host, sizeof host, "%s", without_tls(address));
        if (strncmp(address, unix_prefix, sizeof unix_prefix - 1) == 0 || !split_port(host) ||
            getaddrinfo(host, NULL, &hints, &found))
            continue;
        bool exposed = needs_local(settings) && !is_local(found->ai_addr);
        freeaddrinfo(found);
        if (exposed)
            return refuse_exposed(address, fault);
    }
    return check_tls(settings, fault);
}

static int listen_open(const char *address, struct fault *fault)
{
    if (check_address(address, fault))
        return -1;
    char host[256];
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    if (strncmp(address, unix_prefix, sizeof unix_prefix - 1) == 0)
        return listen_unix(address, fault);
    snprintf(host, sizeof host, "%s", without_tls(address));
    const char *port = split_port(host);
    int problem = getaddrinfo(host, port, &hints, &found);
    if (problem)
        return fault_set(fault, "listen", "resolve", 0, "%s: %s", address, gai_strerror(problem));
    auto_fd int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1, error = 0;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, BACKLOG))
        error = errno;
    freeaddrinfo(found);
    return error ? refuse(fault, "bind", error, address) : take_fd(&fd);
}

/* Whether it is local, and for one that we did not name: "127.0.0.1:80", "[::1]:80", "unix:/path", as the settings have
 * them. */
static void name_socket(struct listening *listening)
{
    struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof name;
    char host[64] = "", port[8] = "";
    getsockname(listening->fd, (struct sockaddr *)&name, &size);
    listening->local = is_local((struct sockaddr *)&name);
    if (!listening->inherited)
        return;
    if (name.ss_family == AF_UNIX) {
        const struct sockaddr_un *local = (const struct sockaddr_un *)&name;
        snprintf(listening->address, sizeof listening->address, "%s%s%s", unix_prefix, *local->sun_path ? "" : "@",
                 local->sun_path + !*local->sun_path);
        return;
    }
    getnameinfo((struct sockaddr *)&name, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(listening->address, sizeof listening->address, name.ss_family == AF_INET6 ? "%s[%s]:%s" : "%s%s:%s",
             listening->tls ? tls_prefix : "", host, port);
}

int listen_all(const struct settings *settings, struct listening listening[LISTEN_MOST], struct fault *fault)
{
    int fds[LISTEN_MOST];
    const char *names[LISTEN_MOST];
    int count = service_sockets(fds, names, LISTEN_MOST, fault);
    for (int i = 0; i < count; i++) {
        listening[i] = (struct listening){.fd = fds[i], .inherited = true, .tls = strcmp(names[i], "tls") == 0};
        name_socket(&listening[i]);
    }
    for (size_t i = 0; count == 0 && i < settings->listen_count; i++) {
        listening[i] = (struct listening){.fd = listen_open(settings->listen[i], fault)};
        listening[i].tls = is_tls(settings->listen[i]);
        if (listening[i].fd < 0) {
            listen_remove(listening, i);
            return -1;
        }
        snprintf(listening[i].address, sizeof listening[i].address, "%s", settings->listen[i]);
        name_socket(&listening[i]);
    }
    if (count >= 0)
        count = count ? count : (int)settings->listen_count;
    if (count > 0 && listen_allowed(settings, listening, (size_t)count, fault)) {
        listen_remove(listening, (size_t)count);
        return -1;
    }
    return count;
}

void listen_remove(const struct listening *listening, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!listening[i].inherited && strncmp(listening[i].address, unix_prefix, sizeof unix_prefix - 1) == 0)
            unlink(listening[i].address + sizeof unix_prefix - 1);
    }
}

bool listen_speaks_tls(const char *address)
{
    return is_tls(address);
}

static int connect_within(int family, const struct sockaddr *name, socklen_t size, unsigned seconds)
{
    const struct timeval patience = {.tv_sec = seconds};
    auto_fd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) || connect(fd, name, size))
        return -1;
    return take_fd(&fd);
}

int listen_connect(const char *address, unsigned seconds, struct fault *fault)
{
    char host[256];
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    int fd;
    if (check_address(address, fault))
        return -1;
    if (strncmp(address, unix_prefix, sizeof unix_prefix - 1) == 0) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        strcpy(name.sun_path, address + sizeof unix_prefix - 1);
        fd = connect_within(AF_UNIX, (struct sockaddr *)&name, sizeof name, seconds);
        return fd < 0 ? refuse(fault, "connect", errno, address) : fd;
    }
    snprintf(host, sizeof host, "%s", without_tls(address));
    const char *port = split_port(host);
    if (getaddrinfo(host, port, &hints, &found))
        return refuse(fault, "resolve", 0, address);
    fd = connect_within(found->ai_family, found->ai_addr, found->ai_addrlen, seconds);
    int error = errno;
    freeaddrinfo(found);
    return fd < 0 ? refuse(fault, "connect", error, address) : fd;
}
