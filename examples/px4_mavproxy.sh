#!/bin/sh
# Flies the emulated PX4 with MAVProxy, a ground station that this project did not write.
#
#     pip install -e '.[clients]'                    # in the clone; brings MAVProxy and MAVSDK
#     control-stack sim serve --as px4               # in another terminal
#     sh examples/px4_mavproxy.sh                    # or with another address: ... udpin:127.0.0.1:14541
#
# Takes off, prints where it is, lands; exits with 0 if MAVProxy saw it in the air and disarmed afterwards. MAVProxy
# names ArduPilot's modes, so PX4's are set by number: main mode 4 (AUTO), sub mode 2 (take-off) and 6 (land).
if ! command -v mavproxy.py >/dev/null; then
    echo "mavproxy.py is missing: pip install -e '.[clients]' (in the clone)" >&2
    exit 1
fi
master=${1:-udpin:127.0.0.1:14540}
echo "flying by MAVProxy on $master: half a minute"
folder=$(mktemp -d)
{
    sleep 8
    echo "long DO_SET_MODE 1 4 2"
    sleep 1
    echo "arm throttle"
    sleep 8
    echo "status LOCAL_POSITION_NED"
    sleep 1
    echo "long DO_SET_MODE 1 4 6"
    sleep 12
    echo "status LOCAL_POSITION_NED"
    sleep 1
} | mavproxy.py --master="$master" --state-basedir="$folder" >"$folder/out" 2>&1
tr -d '\r' <"$folder/out" | grep -E "ARMED|Mode|COMMAND_ACK|LOCAL_POSITION_NED|AP:"
grep -q "z : -2\." "$folder/out" && grep -q "DISARMED" "$folder/out"
