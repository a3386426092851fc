#include "base/test.h"
#include "base/file.h"
#include "watch/host/host.h"

/* A series as people write it, without instance and job, and its value: "node_load1 0.69". */
static bool has_row(const row_vec *rows, const char *want)
{
    bool found = false;
    AUTO(buf_done) buf text = BUF_INIT(1 << 16);
    for (size_t i = 0; i < rows->len && !found; i++) {
        label at[LABELS_MAX];
        size_t n = 0;
        buf_reset(&text);
        for (size_t k = 0; k < rows->at[i].labels.len; k++) {
            label l = rows->at[i].labels.at[k];
            if (!str_is(l.name, "job") && !str_is(l.name, "instance"))
                at[n++] = l;
        }
        labels_format((labels){ at, n }, &text);
        buf_append_char(&text, ' ');
        buf_append_double(&text, rows->at[i].v);
        found = str_is(buf_str(&text), want);
    }
    return found;
}

static bool names_metric(const row_vec *rows, const char *prefix)
{
    for (size_t i = 0; i < rows->len; i++) {
        if (str_starts(labels_name(rows->at[i].labels), str_from(prefix)))
            return true;
    }
    return false;
}

static host *open_fixture(void)
{
    host *h = NULL;
    err e = { 0 };
    host_options o = { .proc = "testdata/proc", .instance = STR("box") };
    CHECK_OK(host_open(&o, &h, &e), e);
    return h;
}

TEST(the_kernels_files_become_node_exporters_series)
{
    static const char *const want[] = {
        "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1239.15",
        "node_cpu_seconds_total{cpu=\"0\",mode=\"steal\"} 2.05",
        "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"nice\"} 0.01",
        "node_context_switches_total 4416046",
        "node_intr_total 1943254",
        "node_forks_total 30568",
        "node_procs_running 3",
        "node_procs_blocked 1",
        "node_boot_time_seconds 1795288043",
        "node_memory_MemTotal_bytes 8326443008",
        "node_memory_Active_anon_bytes 126418944",
        "node_memory_HugePages_Total 2",
        "node_load1 0.69",
        "node_load5 0.73",
        "node_load15 0.54",
        "node_vmstat_pgmajfault 4321",
        "node_vmstat_oom_kill 1",
        "node_vmstat_pswpout 6",
        "node_pressure_cpu_waiting_seconds_total 2.5",
        "node_pressure_io_stalled_seconds_total 0.5",
        "node_disk_read_bytes_total{device=\"vda\"} 4560455680",
        "node_disk_reads_completed_total{device=\"nvme0n1\"} 10",
        "node_disk_flush_requests_total{device=\"vda\"} 4922",
        "node_network_receive_bytes_total{device=\"eth0\"} 577718598",
        "node_network_transmit_colls_total{device=\"eth0\"} 10",
        "node_filesystem_readonly{device=\"tmp fs\",fstype=\"tmpfs\",mountpoint=\"/tmp\"} 1",
        "node_filesystem_readonly{device=\"/dev/vda\",fstype=\"ext4\",mountpoint=\"/\"} 0",
        "node_filesystem_device_error{device=\"/dev/vdb\",fstype=\"xfs\",mountpoint=\"/no/such/place\"} 1",
        "node_time_seconds 1000",
        "node_scrape_collector_success{collector=\"stat\"} 1",
        "up 1",
    };
    host *h = open_fixture();
    row_vec rows = { 0 };
    CHECK_EQ(host_collect(h, 1000000, &rows), OK);
    for (size_t i = 0; i < COUNT_OF(want); i++)
        CHECK_MSG(has_row(&rows, want[i]), "no row %s", want[i]);
    CHECK(names_metric(&rows, "node_uname_info"));
    CHECK_STR(labels_get(rows.at[0].labels, STR("instance")), "box");
    CHECK_STR(labels_get(rows.at[0].labels, STR("job")), "node");
    vec_done(&rows);
    host_close(h);
}

TEST(partitions_virtual_and_network_file_systems_are_left_out)
{
    static const char *const never[] = { "vda1", "loop0", "nvme0n1p1", "/proc", "/dev/shm", "/mnt/dead", "docker" };
    host *h = open_fixture();
    row_vec rows = { 0 };
    AUTO(buf_done) buf text = BUF_INIT(1 << 20);
    CHECK_EQ(host_collect(h, 1000, &rows), OK);
    for (size_t i = 0; i < rows.len; i++)
        labels_format(rows.at[i].labels, &text);
    for (size_t i = 0; i < COUNT_OF(never); i++)
        CHECK_MSG(str_find(buf_str(&text), str_from(never[i])) < 0, "%s is there", never[i]);
    vec_done(&rows);
    host_close(h);
}

TEST(file_systems_are_asked_each_15_seconds_the_rest_each_round)
{
    host *h = open_fixture();
    row_vec rows = { 0 };
    CHECK_EQ(host_collect(h, 1000, &rows), OK);
    CHECK(names_metric(&rows, "node_filesystem_"));
    CHECK_EQ(host_collect(h, 2000, &rows), OK);
    CHECK(!names_metric(&rows, "node_filesystem_") && names_metric(&rows, "node_cpu_seconds_total"));
    for (size_t i = 0; i < rows.len; i++)
        CHECK(!is_stale(rows.at[i].v));
    CHECK_EQ(host_collect(h, 16000, &rows), OK);
    CHECK(names_metric(&rows, "node_filesystem_"));
    vec_done(&rows);
    host_close(h);
}

TEST(a_missing_proc_costs_its_collectors_not_the_round)
{
    host *h = NULL;
    err e = { 0 };
    row_vec rows = { 0 };
    host_options o = { .proc = "testdata/nothing-here" };
    CHECK_OK(host_open(&o, &h, &e), e);
    CHECK_EQ(host_collect(h, 1000, &rows), OK);
    CHECK(has_row(&rows, "node_scrape_collector_success{collector=\"stat\"} 0"));
    CHECK(has_row(&rows, "node_scrape_collector_success{collector=\"uname\"} 1"));
    vec_done(&rows);
    host_close(h);
}

TEST(this_machine_can_be_read_and_a_steady_round_allocates_nothing)
{
    host *h = NULL;
    err e = { 0 };
    row_vec rows = { 0 };
    host_options o = { 0 };
    CHECK_OK(host_open(&o, &h, &e), e);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(host_collect(h, 1000 + i * 20000, &rows), OK);
    CHECK(names_metric(&rows, "node_cpu_seconds_total"));
    fault_alloc(0);
    CHECK_EQ(host_collect(h, 100000, &rows), OK);
    CHECK(!fault_fired());
    vec_done(&rows);
    host_close(h);
}

TEST(opening_and_reading_survive_any_failed_allocation)
{
    for (unsigned nth = 0; nth < 2000; nth++) {
        host *h = NULL;
        row_vec rows = { 0 };
        host_options o = { .proc = "testdata/proc", .instance = STR("box") };
        fault_alloc(nth);
        if (!host_open(&o, &h, NULL))
            (void)host_collect(h, 1000, &rows);
        bool fired = fault_fired();
        vec_done(&rows);
        host_close(h);
        if (!fired)
            break;
    }
}
