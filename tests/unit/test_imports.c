/* The look at a script's imports: examples of what people write, and what does not count. */
#include "imports.h"
#include "support.h"

static struct environment_offers offers = {
    {{.name = "default", .offered = true},
     {.name = "numbers", .offered = true, .warmer = true, .modules = "numpy "},
     {.name = "apart", .offered = true, .modules = "numpy pandas torch "},
     {.name = "data", .offered = true, .warmer = true, .modules = "numpy pandas matplotlib "},
     {.warmer = true, .modules = "numpy pandas "},
     {.warmer = true, .modules = "numpy "},
     {.name = "large", .offered = true, .warmer = true, .modules = "scipy numpy pandas sklearn seaborn "}}};

enum { DEFAULT, NUMBERS, APART, DATA, FRAMES, ARRAYS, LARGE };

static void chosen(const char *source, uint32_t number)
{
    if (imports_choose(string_span(source), &offers) != number)
        fail_msg("%s: %u, not %u", source, imports_choose(string_span(source), &offers), number);
}

static void test_what_people_write(void **state)
{
    (void)state;
    chosen("import numpy\n", NUMBERS);
    chosen("import numpy", NUMBERS);
    chosen("import numpy as np, pandas as pd\n", FRAMES);
    chosen("import pandas", FRAMES);
    chosen("from matplotlib import pyplot\n", DATA);
    chosen("import matplotlib.pyplot as plt\n", DATA);
    chosen("import os, sys\nimport json\n\ndef main():\n    import numpy.linalg\n    return {}\n", NUMBERS);
    chosen("import os; import pandas\n", FRAMES);
    chosen("try: import pandas\nexcept ImportError: pass\n", FRAMES);
    chosen("\tfrom\tnumpy\timport array\r\nx = 1\r\n", NUMBERS);
    chosen("import json\rimport pandas\r", FRAMES);
}

/* The most of the imports, then the fewest modules, then the first row. */
static void test_which_of_several(void **state)
{
    (void)state;
    chosen("import matplotlib, numpy", DATA);
    chosen("import pandas\nimport matplotlib\n", DATA);
    chosen("import pandas\nimport pandas\nimport pandas.io, numpy, numpy\n", FRAMES);
    chosen("import scipy", LARGE);
    chosen("import scipy, pandas", LARGE);
    chosen("import numpy, matplotlib, scipy", DATA);
    offers.rows[NUMBERS].warmer = false;
    chosen("import numpy", ARRAYS);
    offers.rows[ARRAYS].warmer = false;
    chosen("import numpy", FRAMES);
    offers.rows[NUMBERS].warmer = offers.rows[ARRAYS].warmer = true;
}

static void test_what_is_no_import_of_ours(void **state)
{
    (void)state;
    chosen("", DEFAULT);
    chosen("import", DEFAULT);
    chosen("from", DEFAULT);
    chosen("import os\n", DEFAULT);
    chosen("import numpyx, _numpy, xnumpy\n", DEFAULT);
    chosen("import torch\n", DEFAULT); /* only who asks for that environment gets it */
    chosen("important numpy\nx = numpy\n", DEFAULT);
    chosen("from os import numpy\n", DEFAULT);
    chosen("import os.numpy\n", DEFAULT);
    chosen("import num\xc3\xa9py\n", DEFAULT);
}

/* Only the beginning is read, and nothing past the end. */
static void test_long_and_exact(void **state)
{
    struct buffer text = {0};
    (void)state;
    for (int i = 0; i < 20000; i++)
        buffer_append(&text, "x = 1\n", 6);
    buffer_append(&text, "import pandas\n", 14);
    assert_int_equal(imports_choose((struct span){text.bytes, text.length}, &offers), DEFAULT);
    buffer_free(&text);
    for (size_t length = 0; length <= 12; length++) {
        auto_free uint8_t *copy = exact_copy((struct span){(const uint8_t *)"import numpy", length});
        assert_int_equal(imports_choose((struct span){copy, length}, &offers), length == 12 ? NUMBERS : DEFAULT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_people_write),
        cmocka_unit_test(test_which_of_several),
        cmocka_unit_test(test_what_is_no_import_of_ours),
        cmocka_unit_test(test_long_and_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
