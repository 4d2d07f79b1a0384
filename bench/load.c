/* A closed loop of HTTP clients: load --connections 16 --path /healthz 127.0.0.1:8080
 *
 * Each connection is kept alive and has one request on its way at a time; the next one goes out as soon as the answer
 * to the last is whole; with --rest a client that was refused waits so long before it, as one that heeds Retry-After
 * does. All send the same bytes. One thread, one epoll. Prints one line of JSON:
 *
 *   answers, seconds, per_second   those with the expected status, and body where one is expected, in the measured time
 *   latency_ms                     of these: from the first byte sent to the last one received
 *   statuses                       every answer's status, counted; also those that were not expected
 *   unexpected, wrong              answers with another status than the expected; with it, but another body
 *   lost, connects                 connections that ended within an answer; connections made
 *   oldest_ms                      how long the oldest request had waited for its answer when time was up
 *
 * Exit status: 0 when every answer was the expected one, 1 when not, 2 when there was nothing to measure. */
#include "figures.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    HEADERS_MOST = 16,
    ANSWER_MOST = 64 << 20,
    STATUSES = 600,
};

static const char usage[] = "load [OPTION…] HOST:PORT|unix:PATH      (HOST is an IPv4 address)\n"
                            "  --connections N     clients, each with one request at a time (1)\n"
                            "  --seconds S         for how long answers are counted (5) …\n"
                            "  --requests N        … or until so many were, whichever is first\n"
                            "  --warm-up S         load that is not counted before (0)\n"
                            "  --path PATH         the request's target (/)\n"
                            "  --body FILE         makes it a POST with these bytes\n"
                            "  --type TYPE         the body's Content-Type (application/json)\n"
                            "  --header 'N: V'     one more header, up to sixteen times\n"
                            "  --rest S            after an answer with another status (0)\n"
                            "  --pause S           after any answer (0)\n"
                            "  --expect-status N   what is not this is counted, not measured (200)\n"
                            "  --expect FILE       the answer's body, byte for byte\n"
                            "  --times FILE        writes every latency there, in microseconds\n";

static struct {
    uint64_t connections, seconds_ns, requests, warm_up_ns, rest_ns, status;
    bool pauses; /* rest_ns is for any status */
    const char *path, *type, *times;
    const char *headers[HEADERS_MOST];
    size_t header_count;
    uint8_t *body, *expected;
    size_t body_length, expected_length;
} options = {.connections = 1, .seconds_ns = 5000000000, .status = 200, .path = "/", .type = "application/json"};

struct client {
    int fd;
    size_t sent; /* of the request */
    uint64_t since_ns;
    uint8_t *answer;
    size_t length, capacity;
    size_t head; /* the length of the answer's head, 0: it is not whole */
    size_t whole;
    unsigned status;
    bool last; /* the server ends the connection after this answer */
    bool rests;
    struct client *next; /* of those that rest, who began to first goes on first */
};

static struct client *clients, *resting, **resting_last = &resting;
static struct sockaddr_storage server;
static socklen_t server_length;
static uint8_t *request;
static size_t request_length;
static int poller;
static struct figures latencies;
static uint64_t statuses[STATUSES], unexpected, wrong, lost, connects;
static uint64_t measured_from_ns; /* 0: still warming up */

/* ---- what is sent, and where ---- */

static void take_address(const char *text)
{
    struct sockaddr_un *local = (struct sockaddr_un *)&server;
    struct sockaddr_in *internet = (struct sockaddr_in *)&server;
    const char *colon = strrchr(text, ':');
    char host[64];
    if (strncmp(text, "unix:", 5) == 0) {
        *local = (struct sockaddr_un){.sun_family = AF_UNIX};
        if (strlen(text + 5) >= sizeof local->sun_path)
            fail("path too long:", text);
        memcpy(local->sun_path, text + 5, strlen(text + 5) + 1);
        server_length = sizeof *local;
        return;
    }
    if (!colon || (size_t)(colon - text) >= sizeof host)
        fail("not HOST:PORT or unix:PATH:", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    *internet = (struct sockaddr_in){.sin_family = AF_INET};
    internet->sin_port = htons((uint16_t)option_number("PORT", colon + 1, 1));
    if (inet_pton(AF_INET, host, &internet->sin_addr) != 1)
        fail("not an IPv4 address:", host);
    server_length = sizeof *internet;
}

static void make_request(void)
{
    char *text;
    size_t length;
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        fail("out of memory", NULL);
    fprintf(memory, "%s %s HTTP/1.1\r\nHost: bench\r\n", options.body ? "POST" : "GET", options.path);
    for (size_t i = 0; i < options.header_count; i++)
        fprintf(memory, "%s\r\n", options.headers[i]);
    if (options.body)
        fprintf(memory, "Content-Type: %s\r\nContent-Length: %zu\r\n", options.type, options.body_length);
    fputs("\r\n", memory);
    if (options.body)
        fwrite(options.body, 1, options.body_length, memory);
    if (fclose(memory))
        fail("out of memory", NULL);
    request = (uint8_t *)text;
    request_length = length;
}

/* ---- one client ---- */

static void open_client(struct client *client)
{
    static const int on = 1;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = client};
    client->fd = socket(server.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        fail("socket", NULL);
    if (server.ss_family == AF_INET)
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* Made blocking, read and written with MSG_DONTWAIT: a full backlog waits here and loses nobody. */
    if (connect(client->fd, (struct sockaddr *)&server, server_length))
        fail("cannot connect", NULL);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event))
        fail("epoll_ctl", NULL);
    connects++;
}

static void send_rest(struct client *client)
{
    while (client->sent < request_length) {
        ssize_t length =
            send(client->fd, request + client->sent, request_length - client->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (length <= 0)
            return; /* full, or broken, which reading will tell */
        client->sent += (size_t)length;
    }
}

/* A connection that has ended is made again in the request's time. */
static void begin(struct client *client)
{
    client->sent = client->length = client->head = 0;
    client->last = false;
    client->since_ns = now_ns();
    if (client->fd < 0)
        open_client(client);
    send_rest(client);
}

static void end(struct client *client)
{
    close(client->fd);
    client->fd = -1;
}

/* Finds where the answer's body begins and ends. Returns 0 as long as the head is not whole. */
static size_t read_head(struct client *client)
{
    static const char length_name[] = "\r\nContent-Length:", close_name[] = "\r\nConnection: close\r\n";
    const char *end = memmem(client->answer, client->length, "\r\n\r\n", 4), *at = (const char *)client->answer;
    if (!end)
        return 0;
    client->head = (size_t)(end - at) + 4;
    client->whole = 0;
    client->status = client->head > 12 && memcmp(at, "HTTP/1.", 7) == 0 ? (unsigned)strtoul(at + 9, NULL, 10) : 0;
    for (; at < end; at++) {
        if (*at == '\r' && strncasecmp(at, length_name, sizeof length_name - 1) == 0)
            client->whole = client->head + strtoul(at + sizeof length_name - 1, NULL, 10);
        else if (*at == '\r' && strncasecmp(at, close_name, sizeof close_name - 1) == 0)
            client->last = true;
    }
    if (!client->whole || client->whole > ANSWER_MOST || !client->status || client->status >= STATUSES) {
        errno = 0;
        fail("an answer without a status or a Content-Length that can be used", NULL);
    }
    return client->head;
}

static void judge(const struct client *client, uint64_t now)
{
    bool right =
        !options.expected || (client->whole - client->head == options.expected_length &&
                              memcmp(client->answer + client->head, options.expected, options.expected_length) == 0);
    statuses[client->status]++;
    if (client->status != options.status)
        unexpected++;
    else if (!right)
        wrong++;
    else if (measured_from_ns && client->since_ns >= measured_from_ns)
        figures_add(&latencies, now - client->since_ns);
}

static void rest(struct client *client)
{
    client->sent = client->length = client->head = 0;
    client->rests = true;
    client->since_ns = now_ns();
    client->next = NULL;
    *resting_last = client;
    resting_last = &client->next;
}

/* Milliseconds until the next one, at most `most`. */
static uint64_t wake(uint64_t now, uint64_t most)
{
    while (resting && resting->since_ns + options.rest_ns <= now) {
        struct client *client = resting;
        resting = client->next;
        if (!resting)
            resting_last = &resting;
        client->rests = false;
        begin(client);
    }
    uint64_t left = resting ? (resting->since_ns + options.rest_ns - now) / 1000000 + options.pauses : most;
    return left < most ? left : most;
}

/* Reads what is there. False: the connection has ended. */
static bool receive(struct client *client)
{
    for (;;) {
        size_t room = client->head ? client->whole : client->length + 4096;
        if (client->capacity < room + 1)
            client->answer = allocate(client->answer, client->capacity = room + 1);
        ssize_t length =
            recv(client->fd, client->answer + client->length, client->capacity - 1 - client->length, MSG_DONTWAIT);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (length <= 0)
            return false;
        client->length += (size_t)length;
        client->answer[client->length] = 0; /* numbers in the head end there at the latest */
        if (!client->head && !read_head(client))
            continue;
        if (client->length > client->whole) {
            errno = 0;
            fail("more bytes than an answer has", NULL);
        }
        if (client->length < client->whole)
            continue;
        judge(client, now_ns());
        if (client->last)
            end(client);
        if (options.rest_ns && (options.pauses || client->status != options.status)) {
            rest(client);
            return true;
        }
        begin(client);
    }
}

static void ready(struct client *client, uint32_t events)
{
    if (client->rests) {
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) && client->fd >= 0)
            end(client); /* the server needed its place; begin() makes another */
        return;
    }
    if (events & EPOLLOUT)
        send_rest(client);
    if (!(events & ~(uint32_t)EPOLLOUT) || receive(client))
        return;
    lost += client->length > 0 || client->sent == request_length;
    end(client);
    begin(client);
}

/* ---- the whole ---- */

static void run(void)
{
    struct epoll_event events[EVENTS];
    uint64_t start = now_ns(), end = start + options.warm_up_ns + options.seconds_ns;
    if (!options.warm_up_ns)
        measured_from_ns = start;
    for (size_t i = 0; i < options.connections; i++)
        begin(&clients[i]);
    for (uint64_t now = start; now < end && (!options.requests || latencies.count < options.requests);) {
        int count = epoll_wait(poller, events, EVENTS, (int)wake(now, (end - now) / 1000000) + 1);
        for (int i = 0; i < count; i++)
            ready(events[i].data.ptr, events[i].events);
        now = now_ns();
        if (!measured_from_ns && now >= start + options.warm_up_ns)
            measured_from_ns = now;
    }
}

static void print(void)
{
    uint64_t now = now_ns(), oldest = 0;
    double seconds = measured_from_ns ? (double)(now - measured_from_ns) / 1e9 : 0;
    for (size_t i = 0; i < options.connections; i++)
        oldest = !clients[i].rests && now - clients[i].since_ns > oldest ? now - clients[i].since_ns : oldest;
    if (options.times)
        figures_save(&latencies, options.times);
    printf("{\"answers\":%zu,\"seconds\":%.3f,\"per_second\":%.1f,", latencies.count, seconds,
           seconds > 0 ? (double)latencies.count / seconds : 0);
    figures_print(&latencies);
    printf(",\"statuses\":{");
    for (unsigned i = 0, printed = 0; i < STATUSES; i++) {
        if (statuses[i])
            printf("%s\"%u\":%llu", printed++ ? "," : "", i, (unsigned long long)statuses[i]);
    }
    printf("},\"unexpected\":%llu,\"wrong\":%llu,\"lost\":%llu,\"connects\":%llu,\"oldest_ms\":%.1f}\n",
           (unsigned long long)unexpected, (unsigned long long)wrong, (unsigned long long)lost,
           (unsigned long long)connects, (double)oldest / 1e6);
}

static void take_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"connections", 1, NULL, 'c'},   {"seconds", 1, NULL, 's'},
        {"requests", 1, NULL, 'n'},      {"warm-up", 1, NULL, 'w'},
        {"path", 1, NULL, 'p'},          {"body", 1, NULL, 'b'},
        {"type", 1, NULL, 't'},          {"header", 1, NULL, 'H'},
        {"expect", 1, NULL, 'e'},        {"times", 1, NULL, 'T'},
        {"expect-status", 1, NULL, 'S'}, {"rest", 1, NULL, 'r'},
        {"pause", 1, NULL, 'P'},         {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) >= 0;) {
        if (option == 'c')
            options.connections = option_number("--connections", optarg, 1);
        else if (option == 's')
            options.seconds_ns = option_number("--seconds", optarg, 1e9);
        else if (option == 'n')
            options.requests = option_number("--requests", optarg, 1);
        else if (option == 'w')
            options.warm_up_ns = option_number("--warm-up", optarg, 1e9);
        else if (option == 'r')
            options.rest_ns = option_number("--rest", optarg, 1e9);
        else if (option == 'P')
            options.rest_ns = option_number("--pause", optarg, 1e9);
        else if (option == 'S')
            options.status = option_number("--expect-status", optarg, 1);
        else if (option == 'p')
            options.path = optarg;
        else if (option == 't')
            options.type = optarg;
        else if (option == 'T')
            options.times = optarg;
        else if (option == 'b')
            options.body = read_whole(optarg, &options.body_length);
        else if (option == 'e')
            options.expected = read_whole(optarg, &options.expected_length);
        else if (option == 'H' && options.header_count < HEADERS_MOST)
            options.headers[options.header_count++] = optarg;
        else
            optind = argc;
        options.pauses |= option == 'P';
    }
    if (optind != argc - 1 || !options.connections) {
        fputs(usage, stderr);
        exit(2);
    }
    take_address(argv[optind]);
}

int main(int argc, char **argv)
{
    take_options(argc, argv);
    make_request();
    clients = calloc(options.connections, sizeof *clients);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || poller < 0)
        fail("cannot start", NULL);
    for (size_t i = 0; i < options.connections; i++)
        clients[i].fd = -1;
    run();
    print();
    if (!latencies.count)
        return 2;
    return unexpected || wrong || lost;
}
