/* safe-script-tls: the TLS process. Started by the supervisor, with the supervisor's socket as descriptor 3; ends with
 * status 0 when that socket is closed. See tls.h. */
#include "log.h"
#include "tls.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SUPERVISOR_SOCKET = 3 };

int main(int argc, char **argv)
{
    static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP}; /* the supervisor drains; we end when it does */
    static struct server server;                                     /* zeroed */
    struct wire_message setup;
    if (argc > 1) {
        bool version = argc == 2 && strcmp(argv[1], "--version") == 0;
        fputs(version ? "safe-script-tls " SAFE_SCRIPT_VERSION "\n"
                      : "safe-script-tls is started by safe-script, not by hand: see safe-script serve\n",
              version ? stdout : stderr);
        return version ? 0 : 2;
    }
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return 1;
    }
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    log_open("tls", LOG_INFO, LOG_JSON);
    server.supervisor = SUPERVISOR_SOCKET;
    int result = wire_receive(server.supervisor, LINK_TLS, true, &setup);
    if (result == WIRE_CLOSED)
        return 0;
    if (result != WIRE_OK || setup.type != WIRE_TLS_SETUP) {
        log_event(LOG_ERROR, "descriptor 3 is not a supervisor's socket: safe-script-tls is not started by hand");
        return 2;
    }
    return server_run(&server, &setup);
}
