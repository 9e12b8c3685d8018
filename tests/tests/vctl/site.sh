#!/bin/sh
# What the people of a building do with their platform, in the words of the original. Runs unchanged on every platform.
# $AGENT: what to install; $OUT: where to leave the outputs of each step. Only VOLTTRON_HOME, HOME and PATH besides.
cd "$OUT" || exit 99
say() { # say STEP COMMAND...: runs it and keeps what it said
    name=$1
    shift
    "$@" >"$name.out" 2>"$name.err"
    echo $? >"$name.rc"
}
pid_of() { # between the first bracket and the next, as harnesses cut it
    vctl "$@" 2>/dev/null | tr '\n' ' ' | sed -n 's/^[^[]*\[\([0-9]*\)\].*/\1/p'
}
wait_pid() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        pid=$(pid_of status "$1")
        [ -n "$pid" ] && return 0
        sleep 0.5
    done
    return 1
}
answers() { # a platform that has just started may not serve its tools yet
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
        vctl peerlist >/dev/null 2>&1 && return 0
        sleep 1
    done
    return 1
}
say ready answers

# Before anything is installed
say peerlist vctl peerlist
say list_none vctl list
say status_none vctl status
say status_json_none vctl --json status

# Configurations
printf '// a remark\n{"b": [1, 2.5, null], "a": "x"}' >conf.json
printf 'Point,Units\nTemp,F\n' >conf.csv
printf 'free text' >conf.txt
printf '{"a": ' >broken.json
say store_json vctl config store site.store devices/ahu conf.json
say store_csv vctl config store site.store registry.csv conf.csv --csv
say store_stdin sh -c 'vctl config store site.store note --raw <conf.txt'
say store_dash sh -c 'vctl config store site.store note2 - --raw <conf.txt'
say store_broken vctl config store site.store broken broken.json
say store_nofile vctl config store site.store nofile no.such.file
say config_list vctl config list site.store
say config_get vctl config get site.store devices/ahu
say config_get_csv vctl config get site.store registry.csv
say config_get_text vctl config get site.store note
say config_get_raw vctl config get site.store devices/ahu --raw
say config_get_json_flag vctl --json config get site.store devices/ahu
say config_get_none vctl config get site.store no/such
say config_delete vctl config delete site.store note
say config_delete_none vctl config delete site.store note
say config_delete_what vctl config delete site.store
say config_delete_all vctl config delete site.store --all
say config_list_none vctl config list site.store

# Authorization
say keypair vctl auth keypair
key=$(sed -n 's/.*"public": "\([^"]*\)".*/\1/p' keypair.out)
say serverkey vctl auth serverkey
say auth_add vctl auth add --domain vip --address 10.0.0.9 --user_id script.user --credentials "0$(echo "$key" | cut -c2-)" --capabilities '{"edit_config_store": {"identity": "script.user"}}' --comments 'of the script'
say auth_head sh -c 'vctl auth list | head -3'
say auth_listed sh -c 'vctl auth list | grep -c "user_id.: .script.user"'
index=$(vctl auth list | sed -n 's/^INDEX: //p' | tail -1)
say auth_remove sh -c "echo Y | vctl auth remove $index | tail -1 | sed 's/[0-9][0-9]*/N/'"
say auth_unlisted sh -c 'vctl auth list | grep -c "user_id.: .script.user"'
say auth_remove_bad sh -c 'echo Y | vctl auth remove 9999'
say add_role vctl auth add-role operator can_set can_get
say add_role_again vctl auth add-role operator can_set
say list_roles vctl auth list-roles
say update_role vctl auth update-role operator can_get --remove
say list_roles_new vctl auth list-roles
say add_group vctl auth add-group staff operator
say list_groups vctl auth list-groups
say update_group vctl auth update-group staff viewer
say list_groups_new vctl auth list-groups
say remove_group vctl auth remove-group staff
say remove_group_again vctl auth remove-group staff
say remove_role vctl auth remove-role operator
say list_groups_none vctl auth list-groups
say add_known_host vctl auth add-known-host --host 10.9.9.9:22916 --serverkey "0$(echo "$key" | cut -c2-)"
say list_known_hosts sh -c 'vctl auth list-known-hosts | grep -c 10.9.9.9'
say remove_known_host vctl auth remove-known-host 10.9.9.9:22916
say remote_none vctl auth remote list

# Looking around
say rpc_list vctl rpc list platform.health
say rpc_method vctl rpc list platform.health get_platform_health
say rpc_code vctl rpc code platform.health get_platform_health
say stats vctl stats
say typo vctl statsu
say typo_group vctl auth lsit
say abbreviated vctl status --jso
say equals vctl --timeout=30 list -n8
say no_arguments vctl
say help vctl --help
say unknown_option vctl status --no-such-option
say missing_argument vctl tag

# Installing
printf '{"setting1": 1}' >agent.json
say install vctl --json install "$AGENT" --vip-identity site.agent --agent-config agent.json --tag pump
uuid=$(sed -n 's/.*"agent_uuid": "\([^"]*\)".*/\1/p' install.out)
echo "$uuid" >uuid
say install_again vctl --json install "$AGENT" --vip-identity site.agent
say install_missing vctl --json install /no/such/agent-1.0-py3-none-any.whl --vip-identity other
say status_idle vctl status "$uuid"
say status_idle_json vctl --json status
say list_one vctl list

# Tags
say tag_show vctl tag "$uuid"
say tag_set vctl tag "$uuid" boiler
say tag_show_new vctl tag "$uuid"
say tag_by_tag vctl tag boiler --tag
say tag_remove vctl tag "$uuid" -r
say tag_show_none vctl tag "$uuid"
say tag_back vctl tag "$uuid" pump
say tag_nobody vctl tag no.such.agent
say joined vctl -t30 status --tag pump -n 0
say repeated vctl --json --json -t 5 -t 30 status "$uuid"

# Start with the platform
say enable vctl enable "$uuid"
say enable_7 vctl enable -p 7 --tag pump
say enable_json vctl --json enable "$uuid"
say enable_100 vctl enable -p 100 "$uuid"
say disable_json vctl --json disable "$uuid"
say enable_nobody vctl enable no.such.agent
say enable_nobody_json vctl --json enable no.such.agent
say disable_nobody vctl disable no.such.agent

# Processes. Stopping and removing are tried elsewhere: the Python platform takes minutes to end its own listener, and a
# removal uninstalls it for everybody who uses the environment.
say start vctl start --tag pump
say wait wait_pid "$uuid"
say start_again vctl start "$uuid"
say status_running vctl status "$uuid"
say status_running_json vctl --json status "$uuid"
say health vctl health "$uuid"
say start_nobody vctl start no.such.agent
say stop_nobody vctl stop no.such.agent
say restart_nobody vctl restart no.such.agent
say start_what vctl start
say clear vctl clear
say clear_all vctl clear -a

# The end. The agent is killed first: the Python platform waits a minute for its own listener.
say kill kill -KILL "$pid"
say shutdown vctl shutdown
say still_there vctl -t 5 list
say shutdown_platform vctl shutdown --platform
say down_peerlist vctl peerlist
say down_status vctl status
say down_install vctl install "$AGENT"
say down_keypair sh -c 'vctl auth keypair | grep -c public'
say down_hosts vctl auth add-known-host --host 10.8.8.8:1 --serverkey "0$(echo "$key" | cut -c2-)"
say down_list vctl -t 3 list
