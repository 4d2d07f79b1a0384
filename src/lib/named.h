/* What a pidfd names, by the kernel's word: struct pidfd_info of linux/pidfd.h in its first version, and the ioctl()
 * that fills it in, since Linux 6.13. Numbers are in the caller's pid namespace; 0: it is not seen from there. */
#ifndef SAFE_SCRIPT_NAMED_H
#define SAFE_SCRIPT_NAMED_H

#include <stdint.h>
#include <sys/ioctl.h>

enum { NAMED_PID = 1 }; /* PIDFD_INFO_PID */

struct named {
    uint64_t mask, cgroup;
    uint32_t pid, process, parent, ids[8];
    int32_t status;
};

#define NAMED_ASK _IOWR(0xff, 11, struct named)

#endif
