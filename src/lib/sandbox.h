/* The sandboxes of our own processes: of those that parse what strangers and scripts send (the front, the TLS process,
 * and the command line's client), and of the supervisor. Each gives up, once, whatever its work does not need:
 * privileges, files, the network beyond its open sockets, new processes. What is left to somebody who breaks one: its
 * open descriptors, and memory. Not undone by anything.
 *
 * What a list of system calls does not have gives EPERM. What none of us ever calls ends the process: whoever does is
 * not our code any more. */
#ifndef SAFE_SCRIPT_SANDBOX_H
#define SAFE_SCRIPT_SANDBOX_H

#include "fault.h"

#include <stddef.h>
#include <stdint.h>

/* To be called when all that is to be opened is open, and before the first byte of a stranger's. Return 0, or -1 with
 * *fault: the caller must not go on. Where the kernel has no Landlock the list of system calls alone denies all files.
 */
int sandbox_front(struct fault *fault);
int sandbox_client(struct fault *fault);
int sandbox_tls(struct fault *fault);

/* A directory below which the supervisor may do more than read. */
struct sandbox_room {
    int directory;
    enum { ROOM_ALL, ROOM_REMOVE /* files in it, no more */ } rights;
};

/* The supervisor reads files, changes them in its rooms, signals, and starts nothing. It keeps the capabilities of the
 * set (bits, of the first 32). Its children before this call are not confined by it. Returns as the others. */
int sandbox_supervisor(uint32_t capabilities, const struct sandbox_room *rooms, size_t count, struct fault *fault);

/* All capabilities go from every set but these (bits, of the first 32), and nothing gives one back. */
int sandbox_keep_capabilities(uint32_t kept, struct fault *fault);

#endif
