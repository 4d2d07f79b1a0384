/* A compiler of rules for system calls to the classic BPF program that seccomp(2) takes. Pure: its result is a function
 * of its arguments, and tests/unit/test_filter.c compares it with what libseccomp makes of the same rules.
 *
 * Each run loads the program, and the kernel then works through each instruction some ten times. So it is made to be
 * short: neighbouring numbers with one verdict are one range, and an upper half that no mask asks for is not looked at.
 *
 * The kernel also walks the way of each number of a call, and keeps the verdict where the number alone gives ALLOW;
 * that saves some 10 ns of each such call and takes some 18 us of each run. So only the numbers below FILTER_KEPT are
 * walked: the others' way begins with a look at an argument, where the walk gives up (kernel/seccomp.c). */
#ifndef SAFE_SCRIPT_FILTER_H
#define SAFE_SCRIPT_FILTER_H

#include "policy.h"

#include <linux/filter.h>
#include <sys/syscall.h>

/* Up to read(), write() and lseek(), which scripts call by the thousand; on x86 also close(), fstat() and poll(). */
enum { FILTER_KEPT = (SYS_lseek > SYS_write ? SYS_lseek : SYS_write) + 1 };

enum { FILTER_RULES_MOST = 512 };

struct filter_rule {
    const struct call_row *row; /* its number, not negative, and its checks */
    uint32_t action;            /* SECCOMP_RET_…, with its data */
};

/* Writes to the end of program[size] what gives a call the action of the first of its rules whose checks all hold, and
 * `otherwise` where there is none. A call of another architecture kills, one of x32 too. Returns the number of
 * instructions, or 0 when they or the rules are too many, or memory is short. */
size_t filter_compile(const struct filter_rule *rules, size_t count, uint32_t otherwise, struct sock_filter *program,
                      size_t size);

#endif
