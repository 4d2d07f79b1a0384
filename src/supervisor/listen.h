/* Listening sockets: "127.0.0.1:8080", "[::1]:8080", "localhost:8080", "tls:0.0.0.0:8443",
 * "unix:/run/safe-script.sock". */
#ifndef SAFE_SCRIPT_LISTEN_H
#define SAFE_SCRIPT_LISTEN_H

#include "fault.h"
#include "settings.h"

struct listening {
    int fd;
    bool local; /* this machine alone reaches it */
    bool tls;
    bool inherited; /* the service manager's: it has it open, too, and connections wait there when we are gone */
    char address[160];
};

/* Whether the settings' addresses are addresses at all, and may be listened on, as far as that can be told without
 * asking a name server, and those that speak TLS have their files; nothing is opened. Returns 0, or -1 with *fault. */
int listen_check(const struct settings *settings, struct fault *fault);

/* Without keys nobody but this machine may reach us, unless the settings say so. Returns 0, or -1 with *fault. */
int listen_allowed(const struct settings *settings, const struct listening *listening, size_t count,
                   struct fault *fault);

/* The sockets that a service manager has passed to us, or else those of the settings: bound and listening, non-blocking
 * and close-on-exec. Those that the manager names "tls" speak TLS. A Unix socket that nobody listens on is replaced.
 * Returns how many, or -1 with *fault and none open. */
int listen_all(const struct settings *settings, struct listening listening[LISTEN_MOST], struct fault *fault);

bool listen_speaks_tls(const char *address);

/* A connection to a server of ours at one of the settings' addresses; every address of this machine stands for this
 * machine. Blocks for at most so many seconds. Returns it, or -1 with *fault. */
int listen_connect(const char *address, unsigned seconds, struct fault *fault);

/* Removes the files of Unix sockets that are ours. */
void listen_remove(const struct listening *listening, size_t count);

#endif
