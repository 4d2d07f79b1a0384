/* safe-script-http: the front process. Started by the supervisor, with the supervisor's socket as descriptor 3; ends
 * with status 0 when that socket is closed. See front.h. */
#include "front.h"
#include "log.h"
#include "openapi.h"
#include "turns.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SUPERVISOR_SOCKET = 3 };

/* A terminal's interrupt reaches the whole group: the supervisor drains then, and we serve until it closes the socket.
 */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
}

/* Where one of the first three is closed, the next socket would take its number, and a client would read our log. */
static bool fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return false;
    }
    return true;
}

static void print_version(struct buffer *out)
{
    buffer_print(out, "safe-script-http " SAFE_SCRIPT_VERSION "\n");
}

static void print_openapi(struct buffer *out)
{
    static struct environment_offers offers = {{{.name = "default", .offered = true}}};
    limits_default(&offers.rows[0].limits);
    openapi_document(&offers, out);
    buffer_print(out, "\n");
}

static const struct {
    const char *flag;
    void (*print)(struct buffer *out);
    const char *help;
} answers[] = {
    {"--version", print_version, "print the version"},
    {"--openapi", print_openapi, "print the document of the routes: GET /openapi.json, with the default limits"},
    {"--man", api_manual, "print the manual page safe-script-api(7)"},
    {"--metrics", metrics_table, "print the table of metrics, as Markdown"},
};

/* What it says to those who start it by hand. */
static int answer_people(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct buffer text = {0};
        if (argc != 2 || strcmp(argv[1], answers[i].flag) != 0)
            continue;
        answers[i].print(&text);
        bool whole = !text.failed && fwrite(text.bytes, 1, text.length, stdout) == text.length && fflush(stdout) == 0;
        buffer_free(&text);
        return !whole;
    }
    fputs("safe-script-http is started by safe-script, not by hand: see safe-script serve\n", stderr);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        fprintf(stderr, "  %-11s %s\n", answers[i].flag, answers[i].help);
    return 2;
}

int main(int argc, char **argv)
{
    static struct front front; /* zeroed */
    struct wire_message setup;
    if (argc > 1)
        return answer_people(argc, argv);
    if (!fill_standard_descriptors())
        return 1;
    log_open("front", LOG_INFO, LOG_JSON); /* until the setup says how */
    ignore_signals();
    take_short_turns();
    front.supervisor = SUPERVISOR_SOCKET;
    int result = wire_receive(front.supervisor, LINK_FRONT, true, &setup);
    if (result == WIRE_CLOSED)
        return 0;
    if (result != WIRE_OK || setup.type != WIRE_SETUP) {
        log_event(LOG_ERROR, "descriptor 3 is not a supervisor's socket: safe-script-http is not started by hand");
        return 2;
    }
    return front_run(&front, &setup);
}
