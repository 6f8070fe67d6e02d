"""The networks, one file or group of files each."""
