"""What every page of derain stands on: who may ask, a server that slow clients cannot fill."""
