/* src/zygote/pack: memory that is moved is the same memory: its bytes, its permissions, its future. */
#include "support.h"

#include "pack.h"

#include "scope.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { PAGE = 4096, BYTES = 3 << 20, HOLE = 300 * PAGE, SPARSE = 256 << 20, HUGE = 2 << 20, TEXT = 4 * HUGE };

static char initialized[64 * PAGE] = {1}, zeros[64 * PAGE];

static char *map(size_t length, int protection, int flags)
{
    char *bytes = mmap(NULL, length, protection, flags | MAP_ANONYMOUS, -1, 0);
    assert_true(bytes != MAP_FAILED);
    return bytes;
}

static void fill(char *bytes, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)(i * 31 + i / PAGE + seed);
}

static void assert_filled(const char *bytes, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != (char)(i * 31 + i / PAGE + seed))
            fail_msg("byte %zu of %zu has changed", i, length);
    }
}

static void pack_here(void)
{
    auto_fd int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(proc >= 0);
    pack(proc);
}

/* Of the mapping that holds this address, by /proc/self/smaps; -1: it has no such line. */
static long kib_of(const void *address, const char *name)
{
    char line[512];
    unsigned long from, to;
    long kib = -1;
    bool inside = false;
    size_t length = strlen(name);
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = from <= (unsigned long)address && (unsigned long)address < to;
        else if (inside && strncmp(line, name, length) == 0 && line[length] == ':')
            kib = strtol(line + length + 1, NULL, 10);
    }
    fclose(maps);
    return kib;
}

static void test_keeps_every_byte(void **state)
{
    (void)state;
    char *heap = malloc(100000), *mapped = map(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    fill(heap, 100000, 1);
    fill(mapped, BYTES, 2);
    memset(mapped + PAGE, 0, HOLE); /* written, and zeros */
    fill(initialized, sizeof initialized, 3);
    for (int round = 0; round < 2; round++) { /* what has been moved can be moved again */
        pack_here();
        assert_filled(heap, 100000, 1);
        assert_filled(mapped, PAGE, 2);
        for (size_t i = PAGE; i < PAGE + HOLE; i++)
            assert_int_equal(mapped[i], 0);
        fill(mapped + PAGE, 1, 4); /* what was given back is there when it is written to */
        mapped[PAGE] = 0;
        for (size_t i = PAGE + HOLE; i < BYTES; i++)
            assert_int_equal(mapped[i], (char)(i * 31 + i / PAGE + 2));
        assert_filled(initialized, sizeof initialized, 3);
        assert_int_equal(zeros[sizeof zeros - 1], 0);
    }
    free(heap);
    munmap(mapped, BYTES);
}

static void test_heap_goes_on(void **state)
{
    (void)state;
    char *blocks[200];
    pack_here();
    for (size_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = malloc(50000);
        assert_non_null(blocks[i]);
        fill(blocks[i], 50000, (unsigned)i);
    }
    pack_here();
    for (size_t i = 0; i < COUNT(blocks); i++) {
        assert_filled(blocks[i], 50000, (unsigned)i);
        free(blocks[i]);
    }
}

static void test_a_clone_writes_its_own(void **state)
{
    (void)state;
    int status;
    char *mapped = map(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    fill(mapped, BYTES, 5);
    pack_here();
    pid_t pid = fork();
    if (pid == 0) {
        fill(mapped, BYTES, 6);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_filled(mapped, BYTES, 5);
    munmap(mapped, BYTES);
}

/* What is not plain memory of ours stays what it is. */
static void test_leaves_the_rest(void **state)
{
    (void)state;
    int status;
    char *shared = map(BYTES, PROT_READ | PROT_WRITE, MAP_SHARED),
         *wiped = map(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE),
         *constant = map(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE),
         *sparse = map(SPARSE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE);
    fill(shared, BYTES, 7);
    fill(wiped, BYTES, 8);
    fill(constant, BYTES, 9);
    fill(sparse, 100 * PAGE, 10);
    assert_int_equal(madvise(wiped, BYTES, MADV_WIPEONFORK), 0);
    assert_int_equal(mprotect(constant, BYTES, PROT_READ), 0);
    pack_here();
    assert_filled(constant, BYTES, 9);
    assert_filled(sparse, 100 * PAGE, 10);
    assert_in_range(kib_of(sparse, "Rss"), 400, 4096); /* a huge page's, if the kernel likes, and no quarter of a GiB */
    pid_t pid = fork();
    if (pid == 0) {
        fill(shared, BYTES, 11);
        _exit(wiped[0] || wiped[BYTES - 1]);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_filled(shared, BYTES, 11);
    assert_filled(wiped, BYTES, 8);
    munmap(shared, BYTES);
    munmap(wiped, BYTES);
    munmap(constant, BYTES);
    munmap(sparse, SPARSE);
}

static bool has_huge_pages(void)
{
    char *bytes = map(2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    char *whole = bytes + -(uintptr_t)bytes % HUGE;
    *whole = 1;
    bool has = madvise(whole, HUGE, MADV_HUGEPAGE) == 0 && madvise(whole, HUGE, MADV_COLLAPSE) == 0;
    munmap(bytes, 2 * HUGE);
    return has;
}

/* Program text that is there lies in huge pages afterwards, and is program text; what is not there is not fetched. */
static void test_text(void **state)
{
    (void)state;
    int status;
    char *text = map(TEXT, PROT_READ | PROT_WRITE, MAP_PRIVATE),
         *unread = map(TEXT, PROT_READ | PROT_EXEC, MAP_PRIVATE);
    fill(text, TEXT, 13);
    assert_int_equal(madvise(text, TEXT, MADV_NOHUGEPAGE), 0);
    assert_int_equal(mprotect(text, TEXT, PROT_READ | PROT_EXEC), 0);
    assert_int_equal(kib_of(text + TEXT / 2, "AnonHugePages"), 0);
    for (int round = 0; round < 2; round++) {
        pack_here();
        assert_filled(text, TEXT, 13);
        assert_int_equal(kib_of(unread + TEXT / 2, "Rss"), 0);
        if (has_huge_pages())
            assert_true(kib_of(text + TEXT / 2, "AnonHugePages") >= (TEXT / HUGE - 1) * (HUGE >> 10));
        pid_t pid = fork();
        if (pid == 0) {
            signal(SIGSEGV, SIG_DFL);
            *(volatile char *)(text + TEXT / 2) = 0;
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
    }
    munmap(text, TEXT);
    munmap(unread, TEXT);
}

static void test_without_proc(void **state)
{
    (void)state;
    char *mapped = map(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    fill(mapped, BYTES, 12);
    pack(-1);
    assert_filled(mapped, BYTES, 12);
    munmap(mapped, BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_every_byte),
        cmocka_unit_test(test_heap_goes_on),
        cmocka_unit_test(test_a_clone_writes_its_own),
        cmocka_unit_test(test_leaves_the_rest),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_without_proc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
