/* What a container may have, read from directories that look like its cgroup's. */
#include "cgroup_files.h"
#include "support.h"

#include <fcntl.h>
#include <inttypes.h>

struct entry {
    const char *name, *text;
};

static const struct {
    struct entry files[3];
    uint64_t memory, cpu, processes; /* 0: none */
} rows[] = {
    {{{0}}, UINT64_MAX, UINT64_MAX},
    {{{"memory.max", "max\n"}, {"cpu.max", "max 100000\n"}}, UINT64_MAX, UINT64_MAX},
    {{{"memory.max", "1073741824\n"}, {"cpu.max", "150000 100000\n"}}, 1 << 30, 1500},
    {{{"memory.max", "0\n"}, {"cpu.max", "1000 100000\n"}}, 0, 10},
    {{{"pids.max", "100\n"}}, UINT64_MAX, UINT64_MAX, 100},
    {{{"pids.max", "max\n"}}, UINT64_MAX, UINT64_MAX},
    {{{"memory.limit_in_bytes", "536870912\n"}}, 1 << 29, UINT64_MAX},
    {{{"cpu.cfs_quota_us", "-1\n"}, {"cpu.cfs_period_us", "100000\n"}}, UINT64_MAX, UINT64_MAX},
    {{{"cpu.cfs_quota_us", "400000\n"}, {"cpu.cfs_period_us", "100000\n"}}, UINT64_MAX, 4000},
    {{{"cpu.cfs_quota_us", "400000\n"}, {"cpu.cfs_period_us", "0\n"}}, UINT64_MAX, UINT64_MAX},
    {{{"memory.max", "nonsense"}, {"cpu.max", ""}, {"cpu.cfs_quota_us", "18446744073709551614"}},
     UINT64_MAX,
     UINT64_MAX},
};

static void test_one_directory(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char path[] = "/tmp/bounds-XXXXXX";
        assert_non_null(mkdtemp(path));
        auto_fd int directory = open(path, O_RDONLY | O_DIRECTORY);
        for (size_t j = 0; j < COUNT(rows[i].files) && rows[i].files[j].name; j++) {
            auto_fd int fd = openat(directory, rows[i].files[j].name, O_WRONLY | O_CREAT, 0600);
            size_t length = strlen(rows[i].files[j].text);
            assert_int_equal(write(fd, rows[i].files[j].text, length), length);
        }
        struct cgroup_bounds bounds = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}, lower = {1, 1, 1, 1};
        uint64_t processes = rows[i].processes ? rows[i].processes : UINT64_MAX;
        cgroup_lower_bounds(directory, &bounds);
        assert_true(bounds.memory_bytes == rows[i].memory && bounds.cpu_thousandths == rows[i].cpu &&
                    bounds.processes == processes);
        cgroup_lower_bounds(directory, &lower);
        assert_true(lower.memory_bytes <= 1 && lower.cpu_thousandths <= 1 && lower.processes == 1);
        for (size_t j = 0; j < COUNT(rows[i].files) && rows[i].files[j].name; j++)
            unlinkat(directory, rows[i].files[j].name, 0);
        assert_int_equal(rmdir(path), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_directory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
