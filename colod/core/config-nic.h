/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of the configuration that may come more than once: peer addresses, network cards, bypass
 * rules, uplinks.
 * Pure. */
#ifndef CORE_CONFIG_NIC_H
#define CORE_CONFIG_NIC_H

#include "colod/core/config-value.h"

#define ACCEPTS_NIC                                                                                \
	"tap=NAME mac=XX:XX:XX:XX:XX:XX [bridge=NAME|routed] [model=DEVICE] [mtu=N] "              \
	"[device=KEY=VALUE,...]"

/** value_nic() - appends to the nics of the struct config whose member nics is @field. */
int value_nic(const struct config_key *k, void *field, const char *value, struct err *e);

/** value_peer() - appends to the addresses of the struct config whose member peers is @field. */
int value_peer(const struct config_key *k, void *field, const char *value, struct err *e);

/** value_uplink() - appends to the interfaces of the struct config whose member uplinks is @field. */
int value_uplink(const struct config_key *k, void *field, const char *value, struct err *e);

/** value_bypass() - appends to the bypass rules of the struct config whose member bypass is @field;
 * the text is kept as it is. */
int value_bypass(const struct config_key *k, void *field, const char *value, struct err *e);

#endif
