/* The sandboxes of the two processes that parse what strangers and scripts send: the front, and the command line's
 * client. Each gives up, once, whatever its work does not need: privileges, files, the network beyond its open sockets,
 * new processes. What is left to somebody who breaks a parser: the open descriptors, and memory. Not undone by
 * anything. */
#ifndef SAFE_SCRIPT_SANDBOX_H
#define SAFE_SCRIPT_SANDBOX_H

#include "fault.h"

/* To be called when all that is to be opened is open, and before the first byte of a stranger's. Return 0, or -1 with
 * *fault: the caller must not go on. Where the kernel has no Landlock the list of system calls alone denies all files.
 */
int sandbox_front(struct fault *fault);
int sandbox_client(struct fault *fault);

#endif
