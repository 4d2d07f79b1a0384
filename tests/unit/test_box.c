/* src/jail/box: what a script may leave in its directory, counted and removed. */
#include "support.h"

#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char place[] = "/tmp/safe-script-test-XXXXXX";

static int make_place(void **state)
{
    (void)state;
    return mkdtemp(place) ? 0 : -1;
}

static int remove_place(void **state)
{
    (void)state;
    return rmdir(place); /* fails where a box or anything of it has stayed */
}

static struct boxes *open_boxes(void)
{
    char path[64];
    struct fault fault;
    struct boxes *boxes = boxes_open(place, 0, path, sizeof path, &fault);
    assert_non_null(boxes);
    assert_string_equal(path, place);
    return boxes;
}

/* Stands in the box's working directory, as a script does. */
static struct box *enter_box(struct boxes *boxes)
{
    char path[256];
    struct fault fault;
    struct box *box = box_new(boxes, 0, &fault);
    assert_non_null(box);
    snprintf(path, sizeof path, "%s/%s/work", place, box_name(box));
    assert_int_equal(chdir(path), 0);
    return box;
}

static void put_file(const char *name, size_t size)
{
    char *bytes = calloc(1, size + 1);
    auto_fd int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(bytes && fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    free(bytes);
}

static void leave_box(struct boxes *boxes, struct box *box)
{
    struct fault fault;
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(box_free(box, &fault), 0);
    boxes_close(boxes);
}

static void test_usage(void **state)
{
    struct box_usage usage;
    struct boxes *boxes = open_boxes();
    struct box *box = enter_box(boxes);
    (void)state;
    assert_true(box_usage(box, &usage));
    assert_int_equal(usage.inodes, 3);
    uint64_t empty = usage.bytes;
    put_file("one", 1 << 20);
    assert_int_equal(link("one", "two"), 0); /* the same bytes */
    assert_int_equal(symlink("/usr", "../tmp/away"), 0);
    sync();
    assert_true(box_usage(box, &usage));
    assert_int_equal(usage.inodes, 6);
    assert_true(usage.bytes >= empty + (1 << 20) && usage.bytes <= empty + (1 << 20) + 65536);
    leave_box(boxes, box);
}

static void test_short(void **state)
{
    struct boxes *boxes = open_boxes();
    struct box *box = enter_box(boxes);
    struct box_usage room = boxes_room(boxes);
    (void)state;
    assert_false(box_is_short(box, 1 << 20, 1));
    assert_true(box_is_short(box, room.bytes * 2, 1));
    leave_box(boxes, box);
}

static void test_depth(void **state)
{
    struct box_usage usage;
    struct boxes *boxes = open_boxes();
    struct box *box = enter_box(boxes);
    (void)state;
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(mkdir("d", 0700), 0);
        assert_int_equal(chdir("d"), 0);
    }
    put_file("bottom", 10);
    assert_true(box_usage(box, &usage));
    assert_true(usage.inodes > 1000000); /* too deep counts as too much */
    leave_box(boxes, box);
}

/* What a script may do to be in the way: closed directories, links to what is not its own, odd names, many of them. */
static void test_removal(void **state)
{
    char outside[] = "/tmp/safe-script-outside-XXXXXX", name[32];
    struct stat before, after;
    struct boxes *boxes = open_boxes();
    struct box *box = enter_box(boxes);
    (void)state;
    assert_non_null(mkdtemp(outside));
    assert_int_equal(chmod(outside, 0711), 0);
    assert_int_equal(stat(outside, &before), 0);
    assert_int_equal(symlink(outside, "link"), 0);
    assert_int_equal(symlink("..", "up"), 0);
    assert_int_equal(mkfifo("pipe", 0600), 0);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "closed%d", i);
        assert_int_equal(mkdir(name, 0700), 0);
        assert_int_equal(chdir(name), 0);
        put_file("x\n\"\\\xff", 1);
        assert_int_equal(symlink(outside, "link"), 0);
        assert_int_equal(mkdir("in", 0), 0);
        assert_int_equal(chdir(".."), 0);
        assert_int_equal(chmod(name, i % 2 ? 0 : 0500), 0);
    }
    leave_box(boxes, box);
    assert_int_equal(stat(outside, &after), 0);
    assert_int_equal(after.st_mode, before.st_mode);
    assert_int_equal(rmdir(outside), 0);
}

/* A killed server's boxes go when the next one starts; a living one's stay. */
static void test_old_boxes(void **state)
{
    char path[256];
    struct fault fault;
    struct boxes *boxes = open_boxes();
    struct box *living = box_new(boxes, 0, &fault);
    (void)state;
    assert_non_null(living);
    snprintf(path, sizeof path, "%s/safe-script-box-0123456789abcdef0123456789abcdef", place);
    assert_int_equal(mkdir(path, 0711), 0);
    struct boxes *next = open_boxes();
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/%s/work", place, box_name(living));
    assert_int_equal(access(path, F_OK), 0);
    boxes_close(next);
    leave_box(boxes, living);
}

static void test_no_place(void **state)
{
    char path[64], narrow[4];
    struct fault fault;
    (void)state;
    assert_null(boxes_open("/proc/none", 0, path, sizeof path, &fault));
    assert_int_equal(fault.error, ENOENT);
    assert_null(boxes_open("/proc", 0, path, sizeof path, &fault));
    assert_null(boxes_open(place, 0, narrow, sizeof narrow, &fault));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),     cmocka_unit_test(test_depth), cmocka_unit_test(test_removal),
        cmocka_unit_test(test_old_boxes), cmocka_unit_test(test_short), cmocka_unit_test(test_no_place),
    };
    return cmocka_run_group_tests_name("box", tests, make_place, remove_place);
}
