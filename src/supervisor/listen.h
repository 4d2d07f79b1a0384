/* Listening sockets: "127.0.0.1:8080", "[::1]:8080", "localhost:8080", "unix:/run/safe-script.sock". */
#ifndef SAFE_SCRIPT_LISTEN_H
#define SAFE_SCRIPT_LISTEN_H

#include "fault.h"
#include "settings.h"

/* Whether it is an address at all; nothing is opened. Returns 0, or -1 with *fault. */
int listen_check(const char *address, struct fault *fault);

/* Binds and listens, non-blocking and close-on-exec. A Unix socket that nobody listens on is replaced. Returns the
 * descriptor, or -1 with *fault. */
int listen_open(const char *address, struct fault *fault);

/* Removes the Unix sockets' files. */
void listen_remove(const struct settings *settings);

#endif
