// SPDX-License-Identifier: GPL-2.0-or-later
/* libcurl's multi interface on the loop: its sockets and its timer become sources. */
#include "colod/arbiter/etcd-http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct lane {
	struct etcd_http *http;
	CURL *easy;
	bool busy;
	size_t len;
	char *reply;
	char error[CURL_ERROR_SIZE];
};

/* A socket of libcurl's that is watched. */
struct watch {
	struct etcd_http *http;
	struct loop_src *src;
};

struct etcd_http {
	struct loop *loop;
	etcd_http_fn fn;
	void *arg;
	CURLM *multi;
	struct curl_slist *headers;
	struct loop_src *timer;
	size_t reply_max;
	unsigned lane_count;
	struct lane lanes[];
};

/* ---- ends ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct lane *l = arg;
	size_t n = size * count;

	if (n > l->http->reply_max - l->len)
		return 0; /* ends the transfer with an error */
	memcpy(l->reply + l->len, data, n);
	l->len += n;
	return n;
}

static void lane_free(struct lane *l)
{
	l->busy = false;
	curl_multi_remove_handle(l->http->multi, l->easy);
}

static void lane_ended(struct lane *l, CURLcode code)
{
	struct etcd_http *h = l->http;
	long status = 0;
	const char *why = "";

	lane_free(l);
	if (code == CURLE_OK)
		curl_easy_getinfo(l->easy, CURLINFO_RESPONSE_CODE, &status);
	else
		why = *l->error ? l->error : curl_easy_strerror(code);
	h->fn(h->arg, (unsigned)(l - h->lanes), status, l->reply, l->len, why);
}

static void collect(struct etcd_http *h)
{
	const struct CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left))) {
		struct lane *l = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&l);
		lane_ended(l, m->data.result);
	}
}

/* ---- libcurl on the loop ---- */

static void on_io(void *arg, int fd, uint32_t revents)
{
	struct watch *w = arg;
	struct etcd_http *h = w->http;
	int mask = 0, running;

	if (revents & (EPOLLIN | EPOLLHUP))
		mask |= CURL_CSELECT_IN;
	if (revents & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (revents & EPOLLERR)
		mask |= CURL_CSELECT_ERR;
	curl_multi_socket_action(h->multi, fd, mask, &running);
	collect(h);
}

static void on_timer(void *arg)
{
	struct etcd_http *h = arg;
	int running;

	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(h);
}

static int on_want_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct etcd_http *h = arg;

	(void)multi;
	if (timeout_ms < 0)
		loop_timer_disarm(h->timer);
	else
		loop_timer_arm(h->timer, (uint64_t)timeout_ms * USEC_PER_MSEC);
	return 0;
}

static int on_want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct etcd_http *h = arg;
	struct watch *w = socket_arg;
	uint32_t events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			loop_src_free(&w->src);
		free(w);
		curl_multi_assign(h->multi, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	if (w) {
		loop_io_events(w->src, events);
		return 0;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return -1;
	w->http = h;
	if (loop_add_io(h->loop, &w->src, fd, events, on_io, w)) {
		free(w);
		return -1;
	}
	curl_multi_assign(h->multi, fd, w);
	return 0;
}

/* ---- set up ---- */

/* No proxy from the environment, no signals, no second protocol; a name that is still being looked
 * up must not be waited for when its request is given up (CURLOPT_QUICK_EXIT(3)). */
static void set_options(struct lane *l, const struct config *c)
{
	CURL *e = l->easy;

	curl_easy_setopt(e, CURLOPT_PRIVATE, l);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, l->http->headers);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, l->error);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, l);
	if (c->etcd_cafile)
		curl_easy_setopt(e, CURLOPT_CAINFO, c->etcd_cafile);
	if (c->etcd_certfile) {
		curl_easy_setopt(e, CURLOPT_SSLCERT, c->etcd_certfile);
		curl_easy_setopt(e, CURLOPT_SSLKEY, c->etcd_keyfile);
	}
}

static int check_file(const char *key, const char *path, struct err *e)
{
	return path && access(path, R_OK) ? err_errno(e, errno, "%s: cannot read %s", key, path)
					  : 0;
}

static int check_files(const struct config *c, struct err *e)
{
	int r = check_file("etcd_cafile", c->etcd_cafile, e);

	if (!r)
		r = check_file("etcd_certfile", c->etcd_certfile, e);
	return r ? r : check_file("etcd_keyfile", c->etcd_keyfile, e);
}

static int open_multi(struct etcd_http *h)
{
	struct curl_slist *more;

	h->headers = curl_slist_append(NULL, "Content-Type: application/json");
	more = h->headers ? curl_slist_append(h->headers, "Expect:") : NULL;
	h->multi = curl_multi_init();
	if (!more || !h->multi || loop_add_timer(h->loop, &h->timer, on_timer, h))
		return -ENOMEM;
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_want_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_want_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	return 0;
}

static int open_lanes(struct etcd_http *h, const struct config *c)
{
	for (unsigned i = 0; i < h->lane_count; i++) {
		struct lane *l = &h->lanes[i];

		l->http = h;
		l->easy = curl_easy_init();
		l->reply = malloc(h->reply_max);
		if (!l->easy || !l->reply)
			return -ENOMEM;
		set_options(l, c);
	}
	return 0;
}

int etcd_http_new(struct etcd_http **out, struct loop *l, const struct config *c, unsigned lanes,
		  size_t reply_max, etcd_http_fn fn, void *arg, struct err *e)
{
	struct etcd_http *h;
	int r = check_files(c, e);

	if (r)
		return r;
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return err_set(e, ENOMEM, "libcurl does not start");
	h = calloc(1, sizeof(*h) + lanes * sizeof(h->lanes[0]));
	if (!h)
		return err_errno(e, ENOMEM, "arbiter");
	h->loop = l;
	h->fn = fn;
	h->arg = arg;
	h->reply_max = reply_max;
	h->lane_count = lanes;
	r = open_multi(h);
	if (!r)
		r = open_lanes(h, c);
	if (r) {
		etcd_http_free(h);
		return err_errno(e, -r, "arbiter");
	}
	*out = h;
	return 0;
}

void etcd_http_free(struct etcd_http *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < h->lane_count; i++) {
		etcd_http_cancel(h, i);
		curl_easy_cleanup(h->lanes[i].easy);
		free(h->lanes[i].reply);
	}
	curl_multi_cleanup(h->multi);
	curl_slist_free_all(h->headers);
	loop_src_free(&h->timer);
	free(h);
}

/* ---- requests ---- */

int etcd_http_post(struct etcd_http *h, unsigned lane, const char *url, const char *path,
		   const char *body, uint64_t timeout_us)
{
	struct lane *l = &h->lanes[lane];
	char full[512];

	snprintf(full, sizeof(full), "%s%s", url, path);
	l->len = 0;
	l->error[0] = 0;
	if (curl_easy_setopt(l->easy, CURLOPT_URL, full) ||
	    curl_easy_setopt(l->easy, CURLOPT_COPYPOSTFIELDS, body) ||
	    curl_easy_setopt(l->easy, CURLOPT_TIMEOUT_MS, (long)(timeout_us / USEC_PER_MSEC)))
		return -ENOMEM;
	if (curl_multi_add_handle(h->multi, l->easy))
		return -ENOMEM;
	l->busy = true;
	return 0;
}

void etcd_http_cancel(struct etcd_http *h, unsigned lane)
{
	if (h->lanes[lane].busy)
		lane_free(&h->lanes[lane]);
}

void etcd_http_wait(struct etcd_http *h, uint64_t timeout_us)
{
	int running;

	curl_multi_poll(h->multi, NULL, 0, (int)(timeout_us / USEC_PER_MSEC) + 1, NULL);
	curl_multi_perform(h->multi, &running);
	collect(h);
}
