/* In the supervisor's place, for the front alone: instant PORT -- FRONT
 *
 * Starts the front with a socket that listens on 127.0.0.1:PORT, and answers each of its runs at once with what hello
 * would have said. So what a client sees is the front's time, and what the front counts is its own work. Ends on
 * SIGTERM, and the front with it; its exit status is the front's. */
#include "figures.h"
#include "frames.h"
#include "log.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FRONT_SOCKET = 3, BACKLOG = 1024 };

static const char output[] = "hello world\n", result[] = "{\"message\":\"done\"}", no_words[] = "{}\n[]\n";

static int front;

static void send_message(struct wire_message *message)
{
    int sent = wire_send(front, message);
    if (sent != WIRE_OK && sent != WIRE_CLOSED)
        fail("cannot send to the front", NULL);
}

static int memory_file(const void *bytes, size_t length)
{
    int fd = memfd_create("bench", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
        fail("memory file", NULL);
    return fd;
}

static int listener(const char *port)
{
    static const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)option_number("PORT", port, 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG))
        fail("cannot listen on port", port);
    return fd;
}

/* The first words, as the supervisor's. */
static void set_up(const char *port)
{
    static struct environment_offers offers;
    struct wire_message setup = {.type = WIRE_SETUP, .fd_count = 3}, keys = {.type = WIRE_KEYS},
                        state = {.type = WIRE_STATE};
    limits_default(&setup.setup.limits);
    setup.setup.listeners = 1;
    setup.setup.max_connections = 1000;
    setup.setup.body_timeout_ms = setup.setup.idle_timeout_ms = setup.setup.heartbeat_ms = 60000;
    setup.setup.buffered_bytes = 256 << 20;
    setup.setup.log_level = LOG_INFO; /* a line for each run, as by default */
    setup.fds[0] = memory_file(no_words, sizeof no_words - 1);
    offers.rows[ENVIRONMENT_DEFAULT] =
        (struct environment_offer){.name = "default", .offered = true, .limits = setup.setup.limits};
    setup.fds[1] = memory_file(&offers, sizeof offers);
    setup.fds[2] = listener(port);
    state.state = (struct wire_state){.serving = SERVING_READY, .zygote = 1};
    send_message(&setup);
    wire_close_fds(&setup);
    send_message(&keys);
    send_message(&state);
}

/* The read end of a pipe that holds these bytes and has ended. */
static int said(const void *bytes, size_t length)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) || write(ends[1], bytes, length) != (ssize_t)length)
        fail("pipe", NULL);
    close(ends[1]);
    return ends[0];
}

/* A good report repeats the nonce of its job, whose first frame it is. */
static void run(const struct wire_message *order)
{
    struct wire_message started = {.type = WIRE_STARTED, .fd_count = 3}, over = {.type = WIRE_OUTCOME};
    struct buffer report = {0};
    struct frame nonce;
    uint8_t job[64];
    struct span rest = {job, sizeof job};
    if (pread(order->fds[0], job, sizeof job, 0) < 8 + NONCE_BYTES || frame_next(&rest, &nonce) <= 0)
        fail("a job without a nonce", NULL);
    buffer_append_frame(&report, FRAME_NONCE, nonce.data.bytes, nonce.data.length);
    buffer_append_frame(&report, FRAME_RESULT, result, sizeof result - 1);
    buffer_append_frame(&report, FRAME_END, NULL, 0);
    started.started = (struct wire_started){order->run.id, order->run.limits};
    started.fds[0] = said(report.bytes, report.length);
    started.fds[1] = said(output, sizeof output - 1);
    started.fds[2] = said("", 0);
    over.outcome.id = order->run.id;
    send_message(&started);
    send_message(&over);
    wire_close_fds(&started);
    buffer_free(&report);
}

static void on_term(int number)
{
    (void)number;
    shutdown(front, SHUT_RDWR); /* the front ends with it, and then we do */
}

static pid_t start_front(char **command)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        fail("socketpair", NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (pair[1] == FRONT_SOCKET ? fcntl(pair[1], F_SETFD, 0) : dup2(pair[1], FRONT_SOCKET) < 0)
            fail("dup2", NULL);
        execvp(command[0], command);
        fail("cannot start", command[0]);
    }
    if (pid < 0)
        fail("fork", NULL);
    close(pair[1]);
    front = pair[0];
    return pid;
}

int main(int argc, char **argv)
{
    struct wire_message message;
    struct sigaction term = {.sa_handler = on_term};
    int status;
    if (argc < 4 || strcmp(argv[2], "--") != 0) {
        errno = 0;
        fail("instant PORT -- FRONT [ARGUMENTS]", NULL);
    }
    pid_t pid = start_front(argv + 3);
    sigaction(SIGTERM, &term, NULL);
    signal(SIGPIPE, SIG_IGN);
    set_up(argv[1]);
    while (wire_receive(front, LINK_FRONT, false, &message) == WIRE_OK) {
        if (message.type == WIRE_RUN)
            run(&message);
        wire_close_fds(&message);
    }
    close(front);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
