// SPDX-License-Identifier: GPL-2.0-or-later
/* The configuration file: logical lines, the key table, checks across keys. */
#include "colod/core/config.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "colod/core/config-arbiter.h"
#include "colod/core/config-nic.h"
#include "colod/core/config-tls.h"
#include "colod/core/words.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define FIELD(m) offsetof(struct config, m)

/* A huge page. QEMU itself rounds -m to 8K and then refuses a memory backend of another size. */
#define MEMORY_STEP_BYTES (2 * MIB)

static const struct choice page_sizes[] = {{"4K", 4 * KIB}, {"2M", 2 * MIB}, {}};
static const struct choice track_kinds[] = {{"auto", TRACK_AUTO},
					    {"pagemap-scan", TRACK_PAGEMAP_SCAN},
					    {"soft-dirty", TRACK_SOFT_DIRTY},
					    {}};
static const struct choice modes[] = {{"colo", CKPT_MODE_COLO},
				      {"periodic", CKPT_MODE_PERIODIC},
				      {"auto", CKPT_MODE_AUTO},
				      {"on-demand", CKPT_MODE_ON_DEMAND},
				      {}};
static const struct choice netfilters[] = {
	{"auto", NETFILTER_AUTO}, {"nft", NETFILTER_NFT}, {"iptables", NETFILTER_IPTABLES}, {}};
static const struct choice arbiters[] = {
	{"none", ARBITER_NONE}, {"exec", ARBITER_EXEC}, {"etcd", ARBITER_ETCD}, {}};
static const struct choice tls_kinds[] = {
	{"none", TLS_NONE}, {"psk", TLS_PSK}, {"x509", TLS_X509}, {}};
static const struct choice solo_words[] = {{"forbid", false}, {"allow", true}, {}};
static const struct choice yes_no[] = {{"no", false}, {"yes", true}, {}};
static const struct choice log_levels[] = {
	{"err", LOG_PRIO_ERR},   {"warning", LOG_PRIO_WARNING}, {"notice", LOG_PRIO_NOTICE},
	{"info", LOG_PRIO_INFO}, {"debug", LOG_PRIO_DEBUG},     {}};

/* Keys without a default that are not required stay empty: config_finish() derives them. */
static const struct config_key keys[] = {
	{"name", value_name, FIELD(name),
	 .accepts = "1 to 32 of A-Z a-z 0-9 . _ -, a letter or digit first"},
	{"listen", value_endpoint, FIELD(listen), KEY_REQUIRED, .accepts = ACCEPTS_ENDPOINT},
	{"peer", value_peer, FIELD(peers), KEY_REQUIRED | KEY_REPEATS,
	 .accepts = "up to 4 times " ACCEPTS_ENDPOINT},
	{"qemu", value_string, FIELD(qemu), .def = "qemu-system-x86_64",
	 .accepts = "a program, looked up in PATH, or its path"},
	{"qemu_args", value_words, FIELD(qemu_args), KEY_VERBATIM, .def = "",
	 .accepts = "QEMU arguments, quoted as for a shell"},
	{"memory", value_size, FIELD(memory_bytes), KEY_REQUIRED, .min = 16 * MIB,
	 .max = 16 * 1024 * GIB, .accepts = "16M to 16T in steps of 2M, with suffix K, M, G or T"},
	{"memory_page_size", value_choice32, FIELD(memory_page_bytes), .def = "4K",
	 .choices = page_sizes, .accepts = "4K or 2M"},
	{"dirty_tracking", value_choice32, FIELD(tracking), .def = "auto", .choices = track_kinds,
	 .accepts = "auto, pagemap-scan or soft-dirty"},
	{"mode", value_choice32, FIELD(mode), KEY_RUNTIME, .choices = modes,
	 .accepts = "colo, periodic, auto or on-demand"},
	{"period_ms", value_uint32, FIELD(period_ms), KEY_RUNTIME, .def = "100", .max = 60000,
	 .accepts = "0 to 60000 (milliseconds)"},
	{"run_secondary", value_bool, FIELD(run_secondary), .def = "no", .choices = yes_no,
	 .accepts = "yes or no"},
	{"bandwidth", value_size, FIELD(bandwidth_Bps), KEY_RUNTIME, .def = "0",
	 .max = UINT64_MAX / 2,
	 .accepts = "bytes per second with suffix K, M, G or T, 0 for no bound"},
	{"peer_timeout_ms", value_uint32, FIELD(peer_timeout_ms), KEY_RUNTIME, .def = "1000",
	 .min = 100, .max = 600000, .accepts = "100 to 600000 (milliseconds)"},
	{"recover_timeout_ms", value_uint32, FIELD(recover_timeout_ms), KEY_RUNTIME, .def = "2000",
	 .max = 86400000, .accepts = "0 to 86400000 (milliseconds)"},
	{"runtime_dir", value_path, FIELD(runtime_dir), .def = "/run/colod",
	 .accepts = "an absolute path"},
	{"socket", value_path, FIELD(socket_path), .accepts = "an absolute path"},
	{"control_group", value_string, FIELD(control_group), .accepts = "the name of a group"},
	{"log_level", value_choice32, FIELD(log_level), KEY_RUNTIME, .def = "notice",
	 .choices = log_levels, .accepts = "err, warning, notice, info or debug"},
	{"scan_threads", value_uint32, FIELD(scan_threads), .def = "0", .max = 16,
	 .accepts = "0 to 16, 0 for one per core up to 4"},
	{"nic", value_nic, FIELD(nics), KEY_REPEATS, .accepts = ACCEPTS_NIC},
	{"bypass", value_bypass, FIELD(bypass), KEY_REPEATS, .accepts = "up to 64 bypass rules"},
	{"netfilter", value_choice32, FIELD(netfilter), .def = "auto", .choices = netfilters,
	 .accepts = "auto, nft or iptables"},
	{"colo_period_ms", value_uint32, FIELD(colo_period_ms), KEY_RUNTIME, .def = "5000",
	 .min = 100, .max = 600000, .accepts = "100 to 600000 (milliseconds)"},
	{"hold_ms", value_uint32, FIELD(hold_ms), KEY_RUNTIME, .def = "20", .max = 60000,
	 .accepts = "0 to 60000 (milliseconds)"},
	{"pause_percent", value_uint32, FIELD(pause_percent), KEY_RUNTIME, .def = "50", .min = 1,
	 .max = 90, .accepts = "1 to 90 (percent)"},
	{"compare_timeout_ms", value_uint32, FIELD(compare_timeout_ms), KEY_RUNTIME, .def = "200",
	 .min = 1, .max = 60000, .accepts = "1 to 60000 (milliseconds)"},
	{"max_held_packets", value_uint32, FIELD(max_held_packets), .def = "20000", .min = 64,
	 .max = 1000000, .accepts = "64 to 1000000"},
	{"max_held_bytes", value_size, FIELD(max_held_bytes), .def = "64M", .min = MIB,
	 .max = 16 * GIB, .accepts = "1M to 16G, with suffix K, M or G"},
	{"max_flows", value_uint32, FIELD(max_flows), .def = "65536", .min = 64, .max = 1000000,
	 .accepts = "64 to 1000000"},
	{"max_half_open", value_uint32, FIELD(max_half_open), .def = "4096", .min = 16,
	 .max = 1000000, .accepts = "16 to 1000000"},
	{"solo", value_bool, FIELD(solo_allowed), KEY_RUNTIME, .def = "forbid",
	 .choices = solo_words, .accepts = "allow or forbid"},
	{"announce_count", value_uint32, FIELD(announce_count), .def = "5", .min = 1, .max = 100,
	 .accepts = "1 to 100"},
	{"uplink", value_uplink, FIELD(uplinks), KEY_REPEATS,
	 .accepts = "up to 8 times the name of a network interface"},
	{"uplink_delay_ms", value_uint32, FIELD(uplink_delay_ms), KEY_RUNTIME, .def = "1000",
	 .max = 600000, .accepts = "0 to 600000 (milliseconds)"},
	{"host", value_host, FIELD(host),
	 .accepts = "1 to 64 of A-Z a-z 0-9 . _ -, another name on each host, not localhost"},
	{"arbiter", value_choice32, FIELD(arbiter), .def = "none", .choices = arbiters,
	 .accepts = "none, exec or etcd"},
	{"arbiter_command", value_words, FIELD(arbiter_command), KEY_VERBATIM,
	 .accepts = "a program and its arguments, quoted as for a shell"},
	{"arbiter_timeout_ms", value_uint32, FIELD(arbiter_timeout_ms), .def = "10000", .min = 100,
	 .max = 600000, .accepts = "100 to 600000 (milliseconds)"},
	{"etcd_endpoints", value_urls, FIELD(etcd_endpoints), .accepts = ACCEPTS_URLS},
	{"etcd_prefix", value_etcd_prefix, FIELD(etcd_prefix), .def = "/colod",
	 .accepts = "/NAME, or more of them"},
	{"etcd_ttl_ms", value_uint32, FIELD(etcd_ttl_ms), .def = "5000", .min = 2000, .max = 600000,
	 .accepts = "2000 to 600000 (milliseconds)"},
	{"etcd_cafile", value_path, FIELD(etcd_cafile), .accepts = "an absolute path"},
	{"etcd_certfile", value_path, FIELD(etcd_certfile), .accepts = "an absolute path"},
	{"etcd_keyfile", value_path, FIELD(etcd_keyfile), .accepts = "an absolute path"},
	{"tls", value_choice32, FIELD(tls), .def = "none", .choices = tls_kinds,
	 .accepts = "none, psk or x509"},
	{"insecure", value_bool, FIELD(insecure), .def = "no", .choices = yes_no,
	 .accepts = "yes or no"},
	{"tls_psk_file", value_path, FIELD(tls_psk_file), .accepts = "an absolute path"},
	{"tls_psk_identity", value_string, FIELD(tls_psk_identity), .accepts = "a word"},
	{"tls_ca", value_path, FIELD(tls_ca), .accepts = "an absolute path"},
	{"tls_cert", value_path, FIELD(tls_cert), .accepts = "an absolute path"},
	{"tls_key", value_path, FIELD(tls_key), .accepts = "an absolute path"},
	{"tls_peer_name", value_string, FIELD(tls_peer_name), .accepts = "a name or an address"},
};

/* struct parse - a file on its way into a struct config. */
struct parse {
	struct config *c;
	const char *path;
	unsigned seen_at[ARRAY_SIZE(keys)]; /* line of each key, 0 when absent */
};

static const struct config_key *key_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static int key_unknown(const char *name, struct err *e)
{
	const char *nearest = NULL;
	unsigned best = 3;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		unsigned d = edit_distance(name, keys[i].name);

		if (d < best) {
			best = d;
			nearest = keys[i].name;
		}
	}
	if (nearest)
		return err_set(e, EINVAL, "unknown key \"%.40s\"; did you mean \"%s\"?", name,
			       nearest);
	return err_set(e, EINVAL, "unknown key \"%.40s\"; colod.conf(5) lists them", name);
}

/* The one place where a value meets its key; nothing changes on an error. */
static int key_store(const struct config_key *k, struct config *c, const char *value, struct err *e)
{
	struct err why = {};
	int r = k->parse(k, (char *)c + k->offset, value, &why);

	if (r == -ENOMEM)
		return err_errno(e, ENOMEM, "%s", k->name);
	if (r)
		return err_set(e, -r, "%s: \"%.100s\" %s; accepted: %s", k->name, value,
			       err_msg(&why), k->accepts);
	return 0;
}

static int parse_pair(struct parse *p, unsigned line, char *text, struct err *e)
{
	char *eq = strchr(text, '=');
	const struct config_key *k;
	const char *name, *value;
	unsigned *seen;

	if (!eq)
		return err_set(e, EINVAL, "\"%.40s\" is not of the form key = value", text);
	*eq = 0;
	name = trim(text);
	k = key_find(name);
	if (!k)
		return key_unknown(name, e);
	if (!(k->flags & KEY_VERBATIM))
		cut_comment(eq + 1);
	value = trim(eq + 1);
	seen = &p->seen_at[k - keys];
	if (*seen && !(k->flags & (KEY_VERBATIM | KEY_REPEATS)))
		return err_set(e, EINVAL, "%s is already set in line %u; keep one of them", name,
			       *seen);
	*seen = line;
	if (!*value && !(k->flags & KEY_VERBATIM))
		return err_set(e, EINVAL, "%s has no value; accepted: %s", name, k->accepts);
	return key_store(k, p->c, value, e);
}

/* Join a line with the ones it continues on: a backslash and the end of its line become blanks.
 * *next is behind it afterwards. Comment lines do not continue. */
static char *logical_line(char *line, char **next, unsigned *lines)
{
	for (*lines = 1;; ++*lines) {
		char *nl = strchr(*next, '\n');
		char *end = nl ? nl : *next + strlen(*next);

		*next = nl ? nl + 1 : end;
		if (end > line && end[-1] == '\r')
			*--end = ' ';
		if (*trim_left(line) == '#' || end == line || end[-1] != '\\' || !nl) {
			*end = 0;
			return trim_left(line);
		}
		memset(end - 1, ' ', (size_t)(*next - end) + 1);
	}
}

static int parse_lines(struct parse *p, char *text, struct err *e)
{
	unsigned number = 1, lines;

	for (char *next = text; *next; number += lines) {
		char *line = logical_line(next, &next, &lines);

		if (!*line || *line == '#')
			continue;
		if (parse_pair(p, number, line, e))
			return err_prefix(e, "%s:%u", p->path, number);
	}
	return 0;
}

static int set_defaults(struct config *c, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		int r = keys[i].def ? key_store(&keys[i], c, keys[i].def, e) : 0;

		if (r)
			return r;
	}
	return 0;
}

static int check_required(const struct parse *p, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].flags & KEY_REQUIRED && !p->seen_at[i])
			return err_set(e, EINVAL, "%s: %s is missing; add \"%s = ...\": %s",
				       p->path, keys[i].name, keys[i].name, keys[i].accepts);
	return 0;
}

static unsigned line_of(const struct parse *p, const char *key)
{
	return p->seen_at[key_find(key) - keys];
}

/* The name of the file without ".conf" and folders. */
static int derive_name(struct parse *p, struct err *e)
{
	const char *base = strrchr(p->path, '/') ? strrchr(p->path, '/') + 1 : p->path;
	size_t len = strlen(base);
	char name[CONFIG_NAME_MAX + 2];
	int r;

	if (len > 5 && !strcmp(base + len - 5, ".conf"))
		len -= 5;
	snprintf(name, sizeof(name), "%.*s", (int)MIN(len, sizeof(name)), base);
	r = key_store(key_find("name"), p->c, name, e);
	return r ? err_prefix(e, "%s: the guest's name, taken from the file's name, must be set",
			      p->path)
		 : 0;
}

/* Comparing needs output to compare. */
static int check_mode(const struct config *c, struct err *e)
{
	if (!config_compares(c) || c->nic_count)
		return 0;
	return err_set(
		e, EINVAL,
		"mode: %s compares what the guest sends, and there is no nic = line; add one "
		"or use periodic or on-demand",
		ckpt_mode_name(c->mode));
}

static int finish_mode(struct parse *p, struct err *e)
{
	struct config *c = p->c;
	unsigned line = line_of(p, "mode");
	int r;

	if (!line)
		c->mode = c->nic_count ? CKPT_MODE_AUTO : CKPT_MODE_PERIODIC;
	r = check_mode(c, e);
	return r ? err_prefix(e, "%s:%u", p->path, line) : 0;
}

/* Everything that needs more than one key. */
static int config_finish(struct parse *p, struct err *e)
{
	struct config *c = p->c;
	int r = *c->name ? 0 : derive_name(p, e);

	if (r)
		return r;
	if (c->memory_bytes % MEMORY_STEP_BYTES)
		return err_set(e, EINVAL, "%s:%u: memory: not a multiple of 2M", p->path,
			       line_of(p, "memory"));
	r = finish_mode(p, e);
	if (!r && config_tls_finish(c, e))
		r = err_prefix(e, "%s", p->path);
	if (r)
		return r;
	r = config_check_arbiter(c, e);
	if (r)
		return err_prefix(e, "%s", p->path);
	if (!c->socket_path &&
	    asprintf(&c->socket_path, "%s/%s.sock", c->runtime_dir, c->name) < 0) {
		c->socket_path = NULL;
		return err_errno(e, ENOMEM, "%s", p->path);
	}
	if (strlen(c->socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(e, EINVAL,
			       "%s: socket: the path is longer than the 107 bytes a socket may "
			       "have; shorten runtime_dir or set socket",
			       p->path);
	return 0;
}

int config_parse(struct config *c, const char *path, const char *text, size_t len, struct err *e)
{
	struct parse p = {.c = c, .path = path};
	autofree char *copy = malloc(len + 1);
	int r;

	memset(c, 0, sizeof(*c));
	if (!copy)
		return err_errno(e, ENOMEM, "%s", path);
	memcpy(copy, text, len);
	copy[len] = 0;
	r = strlen(copy) == len ? 0 : err_set(e, EINVAL, "%s: not a text file (NUL byte)", path);
	if (!r)
		r = set_defaults(c, e);
	if (!r)
		r = parse_lines(&p, copy, e);
	if (!r)
		r = check_required(&p, e);
	if (!r)
		r = config_finish(&p, e);
	if (r)
		config_destroy(c);
	return r;
}

/* Only who asks etcd needs a name that tells the hosts apart. */
static int default_host(struct config *c, struct err *e)
{
	char name[HOST_NAME_MAX + 1] = "";
	int r;

	if (*c->host)
		return 0;
	if (gethostname(name, sizeof(name) - 1))
		return err_errno(e, errno, "host: cannot ask for the name of this machine");
	r = key_store(key_find("host"), c, name, e);
	if (!r || c->arbiter != ARBITER_ETCD)
		return 0;
	return err_prefix(e, "this machine's name does not serve; set host = NAME");
}

int config_load(struct config *c, const char *path, struct err *e)
{
	autofree char *text = NULL;
	int r;

	memset(c, 0, sizeof(*c));
	r = io_read_file(path, &text, e);
	if (!r)
		r = config_parse(c, path, text, strlen(text), e);
	if (r)
		return r;
	r = default_host(c, e);
	if (r) {
		err_prefix(e, "%s", path);
		config_destroy(c);
	}
	return r;
}

void config_destroy(struct config *c)
{
	free(c->qemu);
	free(c->qemu_args);
	free(c->runtime_dir);
	free(c->socket_path);
	free(c->control_group);
	config_tls_destroy(c);
	for (unsigned i = 0; i < c->nic_count; i++) {
		free(c->nics[i].model);
		free(c->nics[i].extra);
	}
	strv_free(c->bypass);
	config_arbiter_destroy(c);
	memset(c, 0, sizeof(*c));
}

int config_set(struct config *c, const char *key, const char *value, struct err *e)
{
	const struct config_key *k = key_find(key);
	enum ckpt_mode old = c->mode;
	int r;

	if (!k)
		return key_unknown(key, e);
	if (!(k->flags & KEY_RUNTIME))
		return err_set(e, EPERM,
			       "%s cannot change while the guest runs; edit the file and restart "
			       "colod",
			       k->name);
	r = key_store(k, c, value, e);
	if (r)
		return r;
	r = check_mode(c, e);
	if (r)
		c->mode = old;
	return r;
}

static const char *choice_name(const struct choice *c, uint64_t value)
{
	for (; c->name; c++)
		if (c->value == value)
			return c->name;
	return "unknown";
}

const char *ckpt_mode_name(enum ckpt_mode m)
{
	return choice_name(modes, m);
}

const char *track_kind_name(enum track_kind k)
{
	return choice_name(track_kinds, k);
}

const char *netfilter_kind_name(enum netfilter_kind k)
{
	return choice_name(netfilters, k);
}

const char *arbiter_kind_name(enum arbiter_kind k)
{
	return choice_name(arbiters, k);
}

const char *tls_kind_name(enum tls_kind k)
{
	return choice_name(tls_kinds, k);
}
