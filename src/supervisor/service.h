/* What a service manager passes to us and is told by us: systemd's two protocols, which others speak as well.
 * sd_listen_fds(3): sockets that it has opened, from descriptor 3 on; sd_notify(3): datagrams of KEY=VALUE lines. */
#ifndef SAFE_SCRIPT_SERVICE_H
#define SAFE_SCRIPT_SERVICE_H

#include "fault.h"

#include <stddef.h>
#include <stdint.h>

/* The sockets that were passed to this process ($LISTEN_PID), close-on-exec, non-blocking, none of them numbered below
 * 10; names[i] is its $LISTEN_FDNAMES, "" without one. Each must be a listening stream socket. Returns how many, 0 when
 * none were passed, or -1 with *fault. */
enum { SERVICE_FDS = 10 };
int service_sockets(int *fds, const char **names, size_t most, struct fault *fault);

/* Tells the manager, if there is one ($NOTIFY_SOCKET), lines as sd_notify(3) has them. What it does not take is lost.
 */
void service_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How often the manager wants to hear WATCHDOG=1, halved for safety, in microseconds; 0: it does not. */
uint64_t service_watchdog_us(void);

#endif
