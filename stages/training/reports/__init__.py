"""What a run tells: its log, services that show it, curves, sheets of images, its pace."""
