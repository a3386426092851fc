#include "base/test.h"
#include "metric/metric.h"

TEST(own_metrics_are_one_per_name_and_labels_and_read_back)
{
    own_metric *a = own_counter("galen_test_total", "kind=\"a\"", "Test events.");
    own_metric *b = own_counter("galen_test_total", "kind=\"b\"", "Test events.");
    CHECK(a != b && own_counter("galen_test_total", "kind=\"a\"", NULL) == a);
    own_add(a, 2);
    own_add(b, 0.5);
    own_set(own_gauge("galen_test_gauge", NULL, "A level."), -1);
    own_add(NULL, 1); /* a metric that could not be made is no reason to fall over */
    AUTO(buf_done) buf page = BUF_INIT(1 << 20);
    own_exposition(&page);
    CHECK_CONTAINS(buf_str(&page), "# TYPE galen_test_gauge gauge\ngalen_test_gauge -1\n");
    CHECK_CONTAINS(buf_str(&page), "# HELP galen_test_total Test events.\n# TYPE galen_test_total counter\n"
                                   "galen_test_total{kind=\"a\"} 2\ngalen_test_total{kind=\"b\"} 0.5\n");
    exposition_parser *p = exposition_new(buf_str(&page), false);
    exposition_sample s;
    int more;
    while ((more = exposition_next(p, &s, NULL)) == 1) {}
    CHECK_EQ(more, 0);
    exposition_free(p);
}
