/* src/jail/namespaces.c: id maps are written for whom a pidfd names, and for nobody who has its number after it. */
#include "support.h"

#include "jail.h"
#include "scope.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_a_number_that_is_another_s(void **state)
{
    struct fault fault;
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    auto_fd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    assert_true(pidfd >= 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(jail_map_ids(getpid(), pidfd, 1, &fault), -1); /* they may be ours to write, … */
    assert_int_equal(fault.error, ESRCH);                           /* … and are not */
    assert_string_equal(fault.operation, "poll");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_number_that_is_another_s)};
    return cmocka_run_group_tests_name("maps", tests, NULL, NULL);
}
